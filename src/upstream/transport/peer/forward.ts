/**
 * Transport to a server that runs in another worker: a POST for each message over that worker's private unix socket,
 * answered by `peer-endpoint.ts` like Streamable HTTP without sessions (JSON, or SSE if progress comes first).
 * Guarantees: see `transport.ts`; `closed` is never called, because the owner worker is restarted; `abort` destroys the
 * request, which cancels the call there; nothing is sent twice.
 */
import { Agent, type IncomingMessage, request } from 'node:http';
import { limitsAtConnect } from '../../../config/current-limits.ts';
import type { Limits } from '../../../config/limits.ts';
import { HubError } from '../../../model/errors.ts';
import { type Outcome, Refusal } from '../../../model/outcome.ts';
import type { ServerSpec } from '../../../model/snapshot.ts';
import { CappedSlots } from '../../../runtime/capped-slots.ts';
import type { Deadline } from '../../../runtime/deadline.ts';
import type { Runtime } from '../../../runtime/runtime.ts';
import { SHARE_HEADER, WORKER_HEADER } from '../../call.ts';
import { guardedEvents } from '../guarded-events.ts';
import type { Transport, TransportEvents } from '../transport.ts';
import { ForwardAnswer } from './forward-answer.ts';

export interface ForwardTransportOptions {
  readonly runtime: Runtime;
  readonly limits: Limits;
  readonly spec: ServerSpec;
  /** Private socket of the owner worker. */
  readonly socketPath: string;
  /** Id of this worker. */
  readonly slot: number;
  readonly events: TransportEvents;
}

/** Sockets for pings, lists and the handshake when calls use all others. */
const SIDE_SOCKETS = 8;
/** Idle sockets are closed here before the other side closes them, so that no request meets a closing one, ms. */
const IDLE_MS = 4000;

export function createForwardTransport(options: ForwardTransportOptions): Transport {
  return new ForwardTransport({ ...options, limits: limitsAtConnect(options.limits) });
}

interface Exchange {
  readonly id: number;
  /** Destroys the request; no event follows. */
  readonly end: () => void;
}

class ForwardTransport implements Transport {
  readonly #options: ForwardTransportOptions;
  readonly #events: TransportEvents;
  readonly #agent: Agent;
  readonly #exchanges: CappedSlots<Exchange>;
  #stopped = false;

  constructor(options: ForwardTransportOptions) {
    const { runtime, limits, spec } = options;
    this.#options = options;
    this.#events = guardedEvents(options.events, runtime, spec.name, () => this.#stopped);
    const sockets = () => (spec.inFlight ?? Math.max(limits.stdioInFlight, limits.serverInFlight)) + SIDE_SOCKETS;
    // One socket for each exchange, and those are limited.
    this.#agent = new Agent({ keepAlive: true, timeout: IDLE_MS });
    this.#exchanges = new CappedSlots('upstream.forward.exchanges', sockets, runtime.ceilings);
  }

  async start(): Promise<void> {
    // The handshake, which follows at once, shows whether the owner worker is reachable.
    void this.#events.phase('connect');
  }

  send(frame: Buffer, id: number | undefined, _deadline: Deadline, share?: string): Outcome<void> {
    const server = this.#options.spec.slug;
    if (this.#stopped) return new Refusal('server-down', undefined, { server });
    // The owner worker manages the server itself: it needs no notifications, and a closed request is its cancel.
    if (id === undefined) return undefined;
    if (this.#exchanges.size >= this.#exchanges.max)
      return new Refusal('server-busy', undefined, { server, setting: 'inFlight', outcome: 'not-executed' });
    this.#post(frame, id, share);
    return undefined;
  }

  abort(id: number): boolean {
    for (const exchange of this.#exchanges.values()) if (exchange.id === id) exchange.end();
    return true;
  }

  negotiated(): void {}

  forgetSession(): void {}

  cpuMs(): undefined {
    return undefined;
  }

  cpuReadMs(): number | undefined {
    return undefined;
  }

  stderrTail(): readonly string[] {
    return [];
  }

  async stop(): Promise<void> {
    if (this.#stopped) return;
    this.#stopped = true;
    for (const exchange of [...this.#exchanges.values()]) exchange.end();
    this.#agent.destroy();
    this.#exchanges[Symbol.dispose]();
  }

  #post(frame: Buffer, id: number, share: string | undefined): void {
    const { runtime, spec, limits, socketPath, slot: worker } = this.#options;
    const call = request({
      agent: this.#agent,
      socketPath,
      method: 'POST',
      path: `/peer/${spec.slug}`,
      headers: {
        host: 'peer',
        'content-type': 'application/json',
        'content-length': frame.length,
        accept: 'application/json, text/event-stream',
        [WORKER_HEADER]: String(worker),
        ...(share === undefined ? {} : { [SHARE_HEADER]: encodeURIComponent(share) }),
      },
    });
    const slot = this.#exchanges.add({ id, end: () => finish(undefined) });
    let over = false;
    let answered = false;
    let cancel = (): void => {};
    /** Only the first end counts. `read`: the answer was read to its end, so that the socket can be reused. */
    const finish = (fault: HubError | undefined, read = false): void => {
      if (over) return;
      over = true;
      cancel();
      this.#exchanges.free(slot);
      if (!read) call.destroy();
      if (fault) this.#events.failed(id, fault);
    };
    call.on('error', (cause) => finish(answered ? this.#gone(cause) : this.#unreachable(cause, call.reusedSocket)));
    call.on('response', (response: IncomingMessage) => {
      answered = true;
      const over = (fault: HubError | undefined, isRead: boolean): void => finish(fault, isRead);
      const answer = new ForwardAnswer({
        runtime,
        id,
        server: spec.slug,
        limits,
        events: this.#events,
        response,
        over,
      });
      cancel = () => answer.cancel();
      response.on('data', (chunk: Buffer) => answer.take(chunk));
      response.on('end', () => answer.end());
      response.on('error', (cause) => answer.end(this.#gone(cause)));
    });
    call.end(frame);
  }

  /** No answer has begun. If a new socket could not be opened nothing was executed; otherwise it is unknown. */
  #unreachable(cause: unknown, reused: boolean): HubError {
    const { spec } = this.#options;
    const code = codeOf(cause);
    if (reused || !NO_CONNECTION.has(code)) return this.#gone(cause);
    return new HubError('upstream-connect', {
      message: `${spec.slug} runs in worker ${spec.homeHub}, which is not reachable (${code}).`,
      detail: { server: spec.slug, phase: 'connect', homeHub: spec.homeHub, outcome: 'not-executed' },
      cause,
    });
  }

  #gone(cause: unknown): HubError {
    const { spec } = this.#options;
    return new HubError('upstream-gone', {
      message: `The connection to worker ${spec.homeHub}, which runs ${spec.slug}, broke.`,
      detail: { server: spec.slug, phase: 'call', homeHub: spec.homeHub, outcome: 'unknown' },
      cause,
    });
  }
}

/** System errors when a unix socket is opened. */
// bounded by: this literal
const NO_CONNECTION = new Set(['ECONNREFUSED', 'ENOENT', 'EACCES', 'EAGAIN', 'ENOTSOCK', 'EMFILE', 'ENFILE']);

function codeOf(cause: unknown): string {
  return typeof cause === 'object' && cause !== null && 'code' in cause ? String(cause.code) : 'unknown';
}
