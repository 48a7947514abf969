/**
 * Hands over processes, and the only sessions of HTTP servers, from a worker to its replacement, server by server.
 * Guarantees: the replacement starts a process or opens a session only after the old worker has ended its own; before
 * that it forwards calls to the old worker, then the old one forwards to it; an exited predecessor delays nothing.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Limits } from '../config/limits.ts';
import { requestUnixSocket } from '../net/unix-socket-request.ts';
import type { Runtime } from '../runtime/runtime.ts';
import { sweepMarked } from '../subprocess/terminate/sweep.ts';
import type { ServerRegistry } from './registry.ts';

export interface WorkerHandoverParts {
  readonly runtime: Runtime;
  readonly limits: Pick<Limits, 'drainMs' | 'childTermMs'>;
  /** Socket of the worker that currently serves under this id. */
  readonly socketPath: string;
  /** Socket of the worker that this one replaces; undefined when there is none. */
  readonly predecessor: string | undefined;
  /** Mark of this worker in the environment of its descendants. */
  readonly mark: string;
}

type TakingRegistry = Pick<ServerRegistry, 'heldElsewhere' | 'status' | 'move' | 'hasCallsFrom'>;

/** The response to `GET /handover`. */
interface Held {
  /** The worker has been replaced and hands over its servers. */
  readonly isLeaving: boolean;
  /** Mark of the worker in the environment of its descendants; absent in older versions. */
  readonly mark?: string;
  /** Running and queued calls of the servers whose process this worker runs, or whose only session it holds. */
  readonly calls: Readonly<Record<string, number>>;
  /** How many of these calls the replacement has forwarded; servers without one, and older versions, are absent. */
  readonly forwarded?: Readonly<Record<string, number>>;
}

/** Parses a response; returns undefined when there was none, or it is incomplete. */
function heldFrom(text: string | undefined): Held | undefined {
  try {
    const held = text === undefined ? undefined : (JSON.parse(text) as Partial<Held> | null);
    return held?.calls instanceof Object ? (held as Held) : undefined;
  } catch {
    return undefined;
  }
}

const PATH = '/handover';
const LOOK_MS = 100;
const GONE_MS = 1000;
const ANSWER_MS = 2000;
const SWEEP_MS = 3000;
/**
 * A server that is never idle is taken when none of its calls was older than `BRIEF_MS` in this many polls: new calls
 * wait as briefly.
 */
const BRIEF_LOOKS = 5;
const BRIEF_MS = 500;
/**
 * A server with longer calls is taken this long before the old worker ends its calls, ms; new calls wait until the
 * running ones have ended.
 */
const BEFORE_DRAIN_END_MS = 5000;
const ANSWER_BYTES = 1024 * 1024;

export class WorkerHandover {
  readonly #parts: WorkerHandoverParts;
  readonly #taken = new Set<string>(); // bounded by: servers
  /** Polls in a row in which all running calls were brief. */
  readonly #brief = new Map<string, number>(); // bounded by: servers
  /** Servers that were given away; each settles when this worker has ended its process or session. */
  readonly #given = new Map<string, Promise<void>>(); // bounded by: servers
  /** Running calls that the replacement has forwarded, by server. */
  readonly #forwarded = new Map<string, number>(); // bounded by: servers
  #isAlone: boolean;
  #isLeaving = false;
  #predecessorMark: string | undefined;
  /** Since when the predecessor hands over its servers. */
  #leavingMs: number | undefined;

  constructor(parts: WorkerHandoverParts) {
    this.#parts = parts;
    this.#isAlone = parts.predecessor === undefined;
  }

  /** Socket of the worker that this one replaces; undefined when there is none. */
  get predecessor(): string | undefined {
    return this.#parts.predecessor;
  }

  /** Tells whether the replacement of this worker has taken the server. */
  isGiven(server: string): boolean {
    return this.#given.has(server);
  }

  /**
   * Returns the socket of the worker with the same id that runs the process of a server; undefined when this one does.
   */
  runsAt(server: string): string | undefined {
    if (this.#given.has(server)) return this.#parts.socketPath;
    return this.#isAlone || this.#taken.has(server) ? undefined : this.#parts.predecessor;
  }

  /** Counts a call that a worker with the same id, the replacement, has forwarded. Dispose of it when it is over. */
  countForwarded(server: string): Disposable {
    const count = (change: number): void => {
      const calls = (this.#forwarded.get(server) ?? 0) + change;
      if (calls > 0) this.#forwarded.set(server, calls);
      else this.#forwarded.delete(server);
    };
    count(1);
    return { [Symbol.dispose]: () => count(-1) };
  }

  /** Records that this worker has been replaced. */
  leave(): void {
    this.#isLeaving = true;
  }

  /**
   * Settles when the predecessor has ended its process or session of this server, or has exited; undefined when it had
   * none. Never rejects.
   */
  released(server: string): Promise<void> | undefined {
    if (this.#parts.predecessor === undefined || !this.#taken.has(server)) return undefined;
    const { drainMs, childTermMs } = this.#parts.limits;
    return this.#ask('POST', `${PATH}/${server}`, drainMs + childTermMs * 4).then((text) =>
      text === undefined ? this.#endLeft(server) : undefined,
    );
  }

  /**
   * Ends what a predecessor that was killed or does not answer has left of a server: not every system ends it with its
   * worker.
   */
  async #endLeft(server: string): Promise<void> {
    if (this.#predecessorMark === undefined) return;
    const { runtime } = this.#parts;
    using deadline = runtime.deadline(SWEEP_MS);
    const pids = await sweepMarked(`${this.#predecessorMark}.${server}`, deadline);
    if (pids.length > 0) runtime.bus.publish({ type: 'children-swept', pids });
  }

  /**
   * Takes the servers from the predecessor in the background, each at a moment without calls, once it hands them over.
   * Calls `over` when the predecessor no longer answers.
   */
  takeFrom(registry: TakingRegistry, over: () => void): void {
    const { runtime, predecessor } = this.#parts;
    if (predecessor === undefined) return;
    runtime.scope.run('take servers', async () => {
      for (;;) {
        const text = await this.#ask('GET', PATH, ANSWER_MS);
        if (text === undefined && this.#isAlone && this.#waiting(registry).length === 0) return over();
        this.#look(registry, heldFrom(text));
        const isIdle = this.#isAlone && this.#waiting(registry).length === 0;
        await new Promise<void>((resolve) => void runtime.timers.after(isIdle ? GONE_MS : LOOK_MS, resolve));
      }
    });
  }

  /** Serves `GET /handover` and `POST /handover/<server>` to the replacement of this worker. */
  serve(
    registry: Pick<ServerRegistry, 'runningHere' | 'move'>,
    asked: IncomingMessage,
    response: ServerResponse,
  ): void {
    asked.resume();
    // Slugs need no decoding (`slugFrom`).
    const server = (asked.url ?? '').slice(PATH.length + 1);
    const calls = registry.runningHere();
    if (asked.method === 'GET') {
      const forwarded = Object.fromEntries(this.#forwarded);
      const held: Held = { isLeaving: this.#isLeaving, mark: this.#parts.mark, calls, forwarded };
      return void response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(held));
    }
    if (!this.#isLeaving) return void response.writeHead(202).end();
    // There is nothing to end of a server that this worker does not run.
    if (!this.#given.has(server) && !Object.hasOwn(calls, server)) return void response.writeHead(204).end();
    this.#parts.runtime.scope.run(`give ${server}`, async () => {
      await this.#give(server, registry);
      response.writeHead(204).end();
    });
  }

  /** Settles when the process or session has ended, also for a second replacement because the first was killed. */
  async #give(server: string, registry: Pick<ServerRegistry, 'move'>): Promise<void> {
    const before = this.#given.get(server);
    if (before !== undefined) return before;
    const ended = Promise.withResolvers<void>();
    // `move` asks `runsAt`.
    this.#given.set(server, ended.promise);
    await registry.move(server);
    ended.resolve();
  }

  /**
   * Returns the servers that are still to be taken. A session is known only after the server has refused another one.
   */
  #waiting(registry: Pick<ServerRegistry, 'heldElsewhere'>): readonly string[] {
    return registry.heldElsewhere().filter((server) => !this.#taken.has(server));
  }

  /** `held` is undefined when the predecessor does not answer. */
  #look(registry: TakingRegistry, held: Held | undefined): void {
    const nowMs = this.#parts.runtime.clock.nowMs();
    const waiting = this.#waiting(registry);
    this.#predecessorMark = held?.mark ?? this.#predecessorMark;
    if (held && !held.isLeaving) return;
    this.#leavingMs ??= nowMs;
    const { drainMs } = this.#parts.limits;
    const isLate = nowMs - this.#leavingMs >= Math.max(drainMs / 2, drainMs - BEFORE_DRAIN_END_MS);
    for (const server of waiting) {
      const { inFlight = 0, queued = 0 } = registry.status(server) ?? {};
      const own = inFlight + queued;
      const others = (held?.calls[server] ?? 0) - (held?.forwarded ? (held.forwarded[server] ?? 0) : own);
      // No call is running for a server that does not run there: a worker that has exited since had taken it.
      const isThere = held !== undefined && Object.hasOwn(held.calls, server);
      const briefLooks = registry.hasCallsFrom(server, nowMs - BRIEF_MS) ? 0 : (this.#brief.get(server) ?? 0) + 1;
      this.#brief.set(server, briefLooks);
      const mayWait = isLate || briefLooks >= BRIEF_LOOKS;
      if (isThere && (others > 0 || (own > 0 && !mayWait))) continue;
      this.#brief.delete(server);
      this.#taken.add(server);
      void registry.move(server);
    }
    if (this.#waiting(registry).length === 0) this.#isAlone = true;
  }

  /** Returns undefined when there was no answer within `withinMs`. Never rejects. */
  async #ask(method: 'GET' | 'POST', path: string, withinMs: number): Promise<string | undefined> {
    const { runtime, predecessor = '' } = this.#parts;
    using deadline = runtime.deadline(withinMs);
    const answer = requestUnixSocket(predecessor, { method, path }, { deadline, maxBytes: ANSWER_BYTES });
    try {
      const { text } = await runtime.waits.for(answer, { label: 'upstream-start', owner: 'handover', deadline });
      return text;
    } catch {
      return undefined;
    }
  }
}
