/**
 * Passes a request to the front socket of another worker, which checks key and session itself. The request is built
 * from allowed methods and headers, the path, and a complete body.
 * Guarantees: a worker that does not accept within `connectMs` counts as unreachable; the end of one side ends the
 * other; nothing is passed on twice.
 */
import { type ClientRequest, request as httpRequest, type IncomingMessage, type ServerResponse } from 'node:http';
import type { Limits } from '../config/limits.ts';
import { WORKER_TOKEN_HEADER } from '../model/control-headers.ts';
import { isRefusal } from '../model/outcome.ts';
import type { Access } from '../runtime/open-item.ts';
import type { Runtime } from '../runtime/runtime.ts';
import { FairCount } from '../runtime/shares.ts';
import { pour } from './_pour.ts';
import { CLIENT_ADDRESS_HEADER, clientAddress } from './client-address.ts';
import { markPassedStream } from './connection.ts';
import { guardCallback, guardEmitter } from './guarded-http.ts';
import { writeRefusal } from './http-answer.ts';
import { isProxied } from './request-context.ts';

/** Marks a request from another worker. A client that sends it is served where its request arrived. */
const HOP_HEADER = 'x-mcphub-hop';

/** Tells whether another worker has passed the request on. */
export function isHop({ headers }: IncomingMessage): boolean {
  return headers[HOP_HEADER] !== undefined;
}

const AT_ONCE = 4096;
const METHODS: ReadonlySet<string> = new Set(['GET', 'POST', 'DELETE']);
/** Headers that workers read, beside those whose name begins with `mcp-`. */
const HEADERS: ReadonlySet<string> = new Set([
  'accept',
  'authorization',
  'content-type',
  'host',
  'last-event-id',
  'origin',
]);
/** Time for the other worker to end a request of a revoked key, ms; then this worker ends it. */
const REVOKED_MS = 300;
const MCP_HEADERS = 'mcp-';
/** Printable ASCII without spaces, which a request line can carry unchanged. */
const PATH = /^\/[\x21-\x7e]*$/;
/** Hop-by-hop headers of an answer. */
const HOP_HEADERS: ReadonlySet<string> = new Set([
  'connection',
  'keep-alive',
  'transfer-encoding',
  'upgrade',
  'te',
  'trailer',
  'proxy-authenticate',
]);

/** The worker that gets a request, and the share that it counts for. */
export interface Onto {
  readonly slot: number;
  readonly owner: string;
  readonly body: Buffer | undefined;
}

export interface PeerWorkersParts {
  readonly runtime: Runtime;
  readonly limits: Limits;
  readonly frontSocket: (slot: number) => string;
  /** The token to show to other workers; undefined when there is none, and they do not get the client's address. */
  readonly token: () => string | undefined;
}

interface Onward {
  readonly sent: ClientRequest;
  /** Tells whether the other worker has the connection. */
  readonly reached: () => boolean;
}

export class PeerWorkers {
  readonly #parts: PeerWorkersParts;
  readonly #inside: FairCount;

  constructor(parts: PeerWorkersParts) {
    const { limits, runtime } = parts;
    this.#parts = parts;
    this.#inside = new FairCount(
      'downstream.siblings',
      AT_ONCE,
      () => limits.forwardedPerKey,
      'refuse',
      runtime.ceilings,
    );
  }

  /**
   * Passes a request on. `body`: the body that was read; `away` runs when the worker cannot be reached, before anything
   * is written. It ends with the key of its caller.
   */
  pass(
    request: IncomingMessage,
    response: ServerResponse,
    { away, access, ...to }: Onto & { readonly access: Access; readonly away: () => void },
  ): void {
    const { runtime } = this.#parts;
    const open = runtime.openWork.add('passed-request', access);
    if (isRefusal(open)) return writeRefusal(response, open, undefined, request);
    const onward = this.#reach(request, to);
    if (!onward) {
      open.close();
      return away();
    }
    const { sent, reached } = onward;
    // The other worker ends it with an error; one that is blocked is not waited for.
    const cut = (): void => {
      if (!response.writableFinished) response.destroy();
    };
    open.onEnd(() => runtime.timers.after(REVOKED_MS, guardCallback(runtime, response, cut)));
    guardEmitter(runtime, sent, response);
    sent.on('response', (answer) => {
      guardEmitter(runtime, answer, response);
      passOn(answer, response, sent);
    });
    sent.on('error', () => {
      // The other worker may have executed the request: only the client can decide whether to repeat it.
      if (response.headersSent || reached()) response.destroy();
      else if (!response.destroyed) away();
    });
    response.on('close', () => {
      open.close();
      sent.destroy();
    });
  }

  /** Does the same without an answer. */
  tell(request: IncomingMessage, to: Onto): void {
    const sent = this.#reach(request, to)?.sent;
    sent?.on('response', (answer) => answer.resume());
    sent?.on('error', () => {});
  }

  /** Returns undefined when it cannot be passed on, or too many are pending. */
  #reach(request: IncomingMessage, { slot, owner, body }: Onto): Onward | undefined {
    const { runtime, limits, frontSocket, token } = this.#parts;
    const { method = '' } = request;
    const path = onwardPath(request.url ?? '/');
    if (!METHODS.has(method) || !PATH.test(path) || this.#inside.take(owner) !== 'taken') return undefined;
    const deadline = runtime.deadline(limits.connectMs);
    const wait = runtime.waits.open('owner-forward', `hub-${slot}`, deadline);
    const sent = httpRequest({
      socketPath: frontSocket(slot),
      method,
      path,
      headers: headersOf(request, body, token()),
      agent: false,
    });
    guardEmitter(runtime, sent, undefined);
    let reached = false;
    deadline.onEnd(() => sent.destroy());
    sent.on('socket', (socket) => {
      const connected = (): void => {
        reached = true;
        // From here on the limits of the other worker apply, which the supervisor enforces; this is their sum.
        deadline.moveTo(runtime.clock.nowMs() + limits.totalMs + limits.askUserMs);
      };
      socket.once('connect', guardCallback(runtime, sent, connected));
    });
    const over = (): void => {
      wait.leave();
      deadline[Symbol.dispose]();
    };
    sent.on('response', over);
    sent.on('close', () => {
      over();
      this.#inside.give(owner);
    });
    sent.end(body);
    return { sent, reached: () => reached };
  }
}

const LINE_FEED = 0x0a;

function passOn(answer: IncomingMessage, response: ServerResponse, onward: ClientRequest): void {
  if (response.destroyed) return void onward.destroy();
  const headers = Object.entries(answer.headers).filter(([name]) => !HOP_HEADERS.has(name));
  response.writeHead(answer.statusCode ?? 502, Object.fromEntries(headers));
  answer.on('error', () => response.destroy());
  // Workers give every answer its length, except an event stream.
  if (answer.headers['content-length'] === undefined) {
    let isAtLineEnd = true;
    answer.on('data', (chunk: Buffer) => {
      isAtLineEnd = chunk.at(-1) === LINE_FEED;
    });
    markPassedStream(response, () => isAtLineEnd);
  }
  pour(answer, response);
}

function headersOf(
  request: IncomingMessage,
  body: Buffer | undefined,
  token: string | undefined,
): Record<string, string> {
  const { headers } = request;
  const passed: Record<string, string> = { 'content-length': String(body?.length ?? 0), [HOP_HEADER]: '1' };
  if (token !== undefined) {
    passed[WORKER_TOKEN_HEADER] = token;
    passed[CLIENT_ADDRESS_HEADER] = clientAddress(request);
  }
  // The headers that would show this to the other worker are not passed on.
  if (isProxied(request)) passed.via = '1.1 mcphub';
  // An empty Host, which HTTP/1.0 allows, would be refused in HTTP/1.1.
  for (const [name, value] of Object.entries(headers))
    if (typeof value === 'string' && value !== '' && (HEADERS.has(name) || name.startsWith(MCP_HEADERS)))
      passed[name] = value;
  return passed;
}

/**
 * Drops the query, which may contain a key (already in `authorization`), except for the session of a 2024-11-05 client.
 */
function onwardPath(url: string): string {
  const at = url.indexOf('?');
  if (at < 0) return url;
  const path = url.slice(0, at);
  const session = path.startsWith('/messages') ? new URLSearchParams(url.slice(at)).get('sessionId') : null;
  return session === null ? path : `${path}?sessionId=${encodeURIComponent(session)}`;
}
