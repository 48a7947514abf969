/**
 * Finds the worker that holds the session of a server that allows one: when the server refuses initialize, the other
 * workers are asked, so that one holds it and the others forward calls to it.
 * Guarantees: an answer is about the same server with the same settings (its hash) and comes within `ANSWER_MS`; a
 * worker that replaces another answers for both.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { isAbsent, requestUnixSocket } from '../../net/unix-socket-request.ts';
import type { Deadline } from '../../runtime/deadline.ts';
import type { Runtime } from '../../runtime/runtime.ts';

export interface SessionHoldersParts {
  readonly runtime: Runtime;
  /**
   * Returns the private sockets of the other workers, some of which may have exited; first the one that this worker
   * replaces.
   */
  readonly others: () => readonly string[];
  /** Socket of the worker that this one replaces; undefined when there is none. */
  readonly predecessor: string | undefined;
}

/** Whether a session is held, by status; other statuses are unknown. */
const ANSWERS: Readonly<Record<number, boolean>> = { 200: true, 404: false };

/** A server with its settings. */
export interface SessionOf {
  readonly slug: string;
  readonly hash: string;
}

/** `unknown`: a worker that may hold one has not answered. */
export type Holder = { readonly peer: string } | 'none' | 'unknown';

const PATH = '/holders/';
const ANSWER_MS = 1000;
const ANSWER_BYTES = 4096;

export class SessionHolders {
  readonly #parts: SessionHoldersParts;

  constructor(parts: SessionHoldersParts) {
    this.#parts = parts;
  }

  /**
   * Returns the private socket of the worker that holds a session with the server. Never rejects; ends by the deadline.
   */
  async find(server: SessionOf, deadline: Deadline): Promise<Holder> {
    const sockets = this.#parts.others();
    const answers = await Promise.all(sockets.map((socket) => this.isHeldAt(socket, server, deadline)));
    const peer = sockets[answers.indexOf(true)];
    if (peer !== undefined) return { peer };
    return answers.includes(undefined) ? 'unknown' : 'none';
  }

  /**
   * Tells whether the worker behind this socket holds a session with the server, or forwards to the one that it
   * replaces, which does; undefined when it runs and does not answer. Never rejects.
   */
  async isHeldAt(socket: string, { slug, hash }: SessionOf, deadline: Deadline): Promise<boolean | undefined> {
    using soon = deadline.sooner(ANSWER_MS);
    const about = { deadline: soon, maxBytes: ANSWER_BYTES };
    const asked = requestUnixSocket(socket, { method: 'GET', path: `${PATH}${slug}/${hash}` }, about);
    try {
      const wait = { label: 'upstream-handshake', owner: slug, deadline: soon } as const;
      return ANSWERS[(await this.#parts.runtime.waits.for(asked, wait)).status];
    } catch (fault) {
      return isAbsent(fault) ? false : undefined;
    }
  }

  /** Serves `GET /holders/<server>/<hash>` to other workers: 200 when held, 404 when not, 503 when unknown. */
  serve(holdsSession: (server: SessionOf) => boolean, asked: IncomingMessage, response: ServerResponse): void {
    asked.resume();
    const [slug = '', hash = ''] = (asked.url ?? '').slice(PATH.length).split('/');
    const { runtime, predecessor } = this.#parts;
    const answer = (isHeld: boolean | undefined): void =>
      void response.writeHead(isHeld === undefined ? 503 : isHeld ? 200 : 404, { 'content-length': 0 }).end();
    if (holdsSession({ slug, hash })) return answer(true);
    if (predecessor === undefined) return answer(false);
    runtime.scope.run(`holder of ${slug}`, async () => {
      using deadline = runtime.deadline(ANSWER_MS);
      answer(await this.isHeldAt(predecessor, { slug, hash }, deadline));
    });
  }
}
