/**
 * A remote server without a configured type: Streamable HTTP, then HTTP+SSE of 2024-11-05 if the first POST is refused
 * with 400, 404 or 405. Guarantees: see `transport.ts`; every connection tries Streamable HTTP first; the second one
 * has the remaining handshake time; if it fails too, the first fault is reported.
 * Source: specification 2025-03-26, transports, backwards compatibility.
 */

import type { HubError } from '../../model/errors.ts';
import { isRefusal, type Outcome } from '../../model/outcome.ts';
import type { Deadline } from '../../runtime/deadline.ts';
import type { Runtime } from '../../runtime/runtime.ts';
import type { DeclaredHeaders, SessionHold, Transport, TransportEvents } from './transport.ts';

export interface UntypedTransportOptions {
  readonly runtime: Runtime;
  /** Name of the server, for people. */
  readonly server: string;
  readonly events: TransportEvents;
  readonly makeHttp: (events: TransportEvents) => Transport;
  readonly makeSse: (events: TransportEvents) => Transport;
}

const OLD_STATUSES: ReadonlySet<unknown> = new Set([400, 404, 405]);
const CLOSE_MS = 1000;

export function createUntypedTransport(options: UntypedTransportOptions): Transport {
  return new UntypedTransport(options);
}

interface Opening {
  readonly frame: Buffer;
  readonly id: number;
  readonly deadline: Deadline;
}

class UntypedTransport implements Transport {
  readonly #options: UntypedTransportOptions;
  readonly #http: Transport;
  #sse: Transport | undefined;
  /** The initialize that decides; undefined afterwards. */
  #opening: Opening | undefined;
  #isDecided = false;
  #stopped = false;

  constructor(options: UntypedTransportOptions) {
    this.#options = options;
    const { events } = options;
    this.#http = options.makeHttp({
      ...events,
      message: (envelope, exchange) => {
        this.#decide();
        events.message(envelope, exchange);
      },
      failed: (id, fault) => {
        if (!this.#isDecided && this.#opening?.id === id && isOldAnswer(fault)) this.#tryOld(this.#opening, fault);
        else events.failed(id, fault);
      },
    });
  }

  start(deadline: Deadline): Promise<void> {
    return this.#http.start(deadline);
  }

  send(frame: Buffer, id: number | undefined, deadline: Deadline): Outcome<void> {
    if (id !== undefined && !this.#isDecided) this.#opening ??= { frame, id, deadline };
    return this.#current.send(frame, id, deadline);
  }

  abort(id: number): boolean {
    return this.#current.abort(id);
  }

  negotiated(version: string | undefined, declared?: DeclaredHeaders): void {
    if (version !== undefined) this.#decide();
    this.#current.negotiated(version, declared);
  }

  forgetSession(): void {
    this.#current.forgetSession();
  }

  announce(version: string | undefined): void {
    this.#current.announce?.(version);
  }

  get session(): SessionHold | undefined {
    return this.#current.session;
  }

  cpuMs(): number | undefined {
    return this.#current.cpuMs();
  }

  cpuReadMs(): number | undefined {
    return this.#current.cpuReadMs();
  }

  stderrTail(): readonly string[] {
    return this.#current.stderrTail();
  }

  signs(): readonly string[] {
    return this.#current.signs?.() ?? [];
  }

  async explained(fault: unknown, deadline: Deadline): Promise<unknown> {
    return (await this.#current.explained?.(fault, deadline)) ?? fault;
  }

  async stop(deadline: Deadline): Promise<void> {
    this.#stopped = true;
    await Promise.all([this.#http.stop(deadline), this.#sse?.stop(deadline)]);
  }

  get #current(): Transport {
    return this.#sse ?? this.#http;
  }

  #decide(): void {
    this.#isDecided = true;
    this.#opening = undefined;
  }

  #tryOld(opening: Opening, first: HubError): void {
    this.#decide();
    const { runtime, server, events, makeSse } = this.#options;
    // The phase remains the handshake.
    const sse = makeSse({ ...events, phase: () => {} });
    this.#sse = sse;
    runtime.scope.run(`HTTP+SSE of ${server}`, async () => {
      try {
        await sse.start(opening.deadline);
      } catch {
        // Further requests go to the first transport: a server that knows neither opening may know a third.
        this.#sse = undefined;
        using deadline = runtime.deadline(CLOSE_MS);
        await sse.stop(deadline);
        if (!this.#stopped) events.failed(opening.id, first);
        return;
      }
      const sent = this.#stopped ? undefined : sse.send(opening.frame, opening.id, opening.deadline);
      if (isRefusal(sent)) events.failed(opening.id, first);
      using deadline = runtime.deadline(CLOSE_MS);
      await this.#http.stop(deadline);
    });
  }
}

/** Tells whether a server that knows only GET would refuse a POST like this. */
function isOldAnswer({ code, detail }: HubError): boolean {
  return code === 'upstream-http' && OLD_STATUSES.has(detail.status ?? 0);
}
