/**
 * Hands the processes of stdio and launched servers, and the sessions of HTTP servers that allow one, from a worker to the one that replaces it, server by server.
 * Guarantees: a process of the new worker starts, and its session is opened, only after the old worker has ended its own; until then the new worker forwards calls
 * to the old one, and from then on the old one forwards to the new; a predecessor that is gone holds nothing up.
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
  /** Socket that leads to the worker that serves in this place, whichever it is. */
  readonly socketPath: string;
  /** Socket of the worker that this one replaces; undefined = there is none. */
  readonly predecessor: string | undefined;
  /** Mark of this worker in the environment of its descendants. */
  readonly mark: string;
}

type TakingFleet = Pick<ServerRegistry, 'heldElsewhere' | 'status' | 'move' | 'hasCallsFrom'>;

/** What `GET /handover` says. */
interface Held {
  /** The worker has been replaced, and gives its servers away. */
  readonly isLeaving: boolean;
  /** Mark of the worker in the environment of its descendants; absent = a version that did not tell. */
  readonly mark?: string;
  /** Calls inside and queued, of the servers whose process this worker runs, or whose only session it holds. */
  readonly calls: Readonly<Record<string, number>>;
}

/** Undefined = no answer, or one that was cut. */
function heldFrom(text: string | undefined): Held | undefined {
  try {
    return text === undefined ? undefined : (JSON.parse(text) as Held);
  } catch {
    return undefined;
  }
}

const PATH = '/handover';
const LOOK_MS = 100;
const GONE_MS = 1000;
const ANSWER_MS = 2000;
const SWEEP_MS = 3000;
/** A server whose calls never pause is taken when at so many looks in a row none of them was older than `BRIEF_MS`: the next ones wait as briefly. */
const BRIEF_LOOKS = 5;
const BRIEF_MS = 500;
/** One whose calls take longer is taken this long before the old worker cuts its calls, ms; new calls wait until those inside have ended. */
const BEFORE_DRAIN_END_MS = 5000;
const ANSWER_BYTES = 1024 * 1024;

export class WorkerHandover {
  readonly #parts: WorkerHandoverParts;
  readonly #taken = new Set<string>(); // bounded by: servers
  /** Looks in a row at which all calls inside were brief. */
  readonly #brief = new Map<string, number>(); // bounded by: servers
  readonly #given = new Set<string>(); // bounded by: servers
  #isAlone: boolean;
  #isLeaving = false;
  #predecessorMark: string | undefined;
  /** Since when the predecessor gives its servers away. */
  #leavingMs: number | undefined;

  constructor(parts: WorkerHandoverParts) {
    this.#parts = parts;
    this.#isAlone = parts.predecessor === undefined;
  }

  /** Socket of the worker that this one replaces; undefined = there is none. */
  get predecessor(): string | undefined {
    return this.#parts.predecessor;
  }

  /** Whether the worker that replaces this one has the server by now. */
  isGiven(server: string): boolean {
    return this.#given.has(server);
  }

  /** Returns the socket of the worker of this place that runs the process of a server; undefined = this one does. */
  runsAt(server: string): string | undefined {
    if (this.#given.has(server)) return this.#parts.socketPath;
    return this.#isAlone || this.#taken.has(server) ? undefined : this.#parts.predecessor;
  }

  /** This worker has been replaced. */
  leave(): void {
    this.#isLeaving = true;
  }

  /** Settles when the predecessor has ended its process of this server or its session with it, or is gone; undefined = it had none. Never rejects. */
  released(server: string): Promise<void> | undefined {
    if (this.#parts.predecessor === undefined || !this.#taken.has(server)) return undefined;
    const { drainMs, childTermMs } = this.#parts.limits;
    return this.#ask('POST', `${PATH}/${server}`, drainMs + childTermMs * 4).then((text) =>
      text === undefined ? this.#endLeft(server) : undefined,
    );
  }

  /** Ends what a predecessor that was killed, or does not answer, has left of a server: not every system ends it with its worker. */
  async #endLeft(server: string): Promise<void> {
    if (this.#predecessorMark === undefined) return;
    const { runtime } = this.#parts;
    using deadline = runtime.deadline(SWEEP_MS);
    const pids = await sweepMarked(`${this.#predecessorMark}.${server}`, deadline);
    if (pids.length > 0) runtime.bus.publish({ type: 'children-swept', pids });
  }

  /**
   * Takes the servers from the predecessor in the background, each in a moment without calls, once it gives them away. `over` runs when the predecessor does not
   * answer any more.
   */
  takeFrom(registry: TakingFleet, over: () => void): void {
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

  /** Serves `GET /handover` and `POST /handover/<server>` to the worker that replaces this one. */
  serve(
    registry: Pick<ServerRegistry, 'runningHere' | 'move'>,
    asked: IncomingMessage,
    response: ServerResponse,
  ): void {
    asked.resume();
    // Nothing is encoded in slugs (`slugFrom`).
    const server = (asked.url ?? '').slice(PATH.length + 1);
    const calls = registry.runningHere();
    if (asked.method === 'GET') {
      const held: Held = { isLeaving: this.#isLeaving, mark: this.#parts.mark, calls };
      return void response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(held));
    }
    if (!this.#isLeaving) return void response.writeHead(202).end();
    // What it does not run it has nothing to end of.
    if (this.#given.has(server) || !Object.hasOwn(calls, server)) return void response.writeHead(204).end();
    this.#given.add(server);
    this.#parts.runtime.scope.run(`give ${server}`, async () => {
      await registry.move(server);
      response.writeHead(204).end();
    });
  }

  /** What is still to be taken. That of a session shows late: when the server has refused another one. */
  #waiting(registry: Pick<ServerRegistry, 'heldElsewhere'>): readonly string[] {
    return registry.heldElsewhere().filter((server) => !this.#taken.has(server));
  }

  /** `held` undefined = the predecessor does not answer. */
  #look(registry: TakingFleet, held: Held | undefined): void {
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
      const others = (held?.calls[server] ?? 0) - own;
      // Of a server that does not run there nothing is inside: a worker that died meanwhile had taken it.
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

  /** Undefined = no answer, within `withinMs`. Never rejects. */
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
