/**
 * Streamable HTTP transport to one server: a POST for each message, answers as JSON or SSE,
 * a GET stream, session id and version headers. It owns the sockets of its pool and the launched program.
 * Guarantees: see `transport.ts`; at most serverConnections + 8 sockets; `abort` closes the request on the wire;
 * requests wait for the answer to notifications/initialized (`post-order.ts`); no headers of clients are sent.
 */
import type { Limits } from '../../../config/limits.ts';
import type { HubError } from '../../../model/errors.ts';
import { type Outcome, Refusal } from '../../../model/outcome.ts';
import { VERSION_2026 } from '../../../protocol/era-2026/versions.ts';
import { RetryBudget } from '../../../resilience/retry-budget.ts';
import { CappedCount } from '../../../runtime/capped.ts';
import { CappedSlots } from '../../../runtime/capped-slots.ts';
import type { Deadline } from '../../../runtime/deadline.ts';
import type { Runtime } from '../../../runtime/runtime.ts';
import { QuotedReplies } from '../../connection/quoted-replies.ts';
import { guardedEvents } from '../guarded-events.ts';
import { mislabelledReport } from '../http/answer.ts';
import { signsOf } from '../http/http-fault.ts';
import { Outbox } from '../http/outbox.ts';
import { fullRefusal, PostOrder, withoutEarly } from '../http/post-order.ts';
import { schemeFault } from '../http/scheme-fault.ts';
import { openWire, requestOf, SIDE_REQUESTS, type Wire } from '../http/wire.ts';
import type { DeclaredHeaders, Transport, TransportEvents } from '../transport.ts';
import { HttpExchange } from './exchange.ts';
import type { ExchangeHost, SentExchange } from './exchange-host.ts';
import { GetStream } from './get-stream.ts';
import { HeldSession } from './held-session.ts';
import type { HttpTransportOptions } from './http-transport-options.ts';
import { LateOpenings } from './late-openings.ts';
import { dispatchLater, RESUMES, type StreamPlace } from './resume.ts';
import { stopLaunched, untilListening } from './session.ts';

/** Number of answers of the largest size that may arrive from one server at once. */
const LARGE_ANSWERS = 4;
const NOTHING_DECLARED: DeclaredHeaders = () => [];
/** Placeholder for the port of a launched program in its URL. */
const PORT_IN_URL = /\$\{PORT\}/g;

export function createHttpTransport(options: HttpTransportOptions): Transport {
  return new HttpTransport(options);
}

class HttpTransport implements Transport, ExchangeHost {
  readonly runtime: Runtime;
  readonly limits: Limits;
  readonly server: string;
  readonly events: TransportEvents;
  readonly abortReason = new Error('The hub no longer waits for this request.');
  readonly buffered: CappedCount;
  readonly mislabelled: (type: string, kind: string) => void;
  readonly signs = (): readonly string[] => signsOf(this.asked('POST'), this.#wire?.pool.peer, this.stderrTail());
  readonly asked = (method: string): string => `${method} ${this.#wire?.address ?? this.server}`;
  readonly explained = (fault: unknown, deadline: Deadline): Promise<unknown> =>
    schemeFault(fault, { pool: this.#wire?.pool, url: this.#options.http.url }, deadline);
  readonly #options: HttpTransportOptions;
  readonly retries = new RetryBudget();
  readonly #exchanges: CappedSlots<HttpExchange>;
  readonly #outbox: Outbox;
  #wire: Wire | undefined;
  readonly #stream: GetStream;
  readonly #held: HeldSession;
  /** Set for a shared connection. */
  readonly session: HeldSession | undefined;
  readonly #late: LateOpenings | undefined;
  #version: string | undefined;
  #declared: DeclaredHeaders = NOTHING_DECLARED;
  readonly #order: PostOrder<HttpExchange>;
  #stopped = false;
  readonly #quoted = new QuotedReplies();

  constructor(options: HttpTransportOptions) {
    const { runtime, limits, spec, remembered } = options;
    this.#options = options;
    this.runtime = runtime;
    this.limits = limits;
    this.server = spec.name;
    const wire = (): Wire | undefined => this.#wire;
    this.#held = new HeldSession(this, remembered, wire);
    this.session = remembered && this.#held;
    this.#late = remembered && new LateOpenings({ host: this, held: this.#held, remembered, wire });
    this.mislabelled = mislabelledReport(runtime, spec.name);
    const guarded = guardedEvents(options.events, runtime, spec.name, () => this.#stopped);
    this.events = withoutEarly(guarded, (reply, isError) => this.#order.passes(reply, isError));
    const requests = limits.serverConnections + SIDE_REQUESTS;
    this.#exchanges = new CappedSlots('upstream.http.exchanges', requests, runtime.ceilings);
    const bytes = limits.answerBytes * LARGE_ANSWERS;
    this.buffered = new CappedCount('upstream.http.buffered', bytes, 'refuse', runtime.ceilings);
    this.#order = new PostOrder({
      timers: runtime.timers,
      handshakeMs: () => limits.handshakeMs,
      again: (exchange) => this.#another(exchange),
      posts: () => this.#exchanges.values(),
      dispatch: (exchange) => this.#dispatch(exchange),
      open: (there) => this.#stream.open(there),
      // Such a server may send requests while it works, and not every one uses the stream of the call.
      isStreamFirst: spec.interactive,
    });
    this.#stream = new GetStream({
      runtime,
      limits,
      server: spec.name,
      events: this.events,
      abortReason: this.abortReason,
      quoted: this.#quoted,
      isWanted: options.http.getStream !== false,
      wire,
      posts: () => this.#exchanges.values(),
    });
    this.#outbox = new Outbox({
      runtime,
      server: spec.name,
      lifeMs: () => limits.handshakeMs,
      post: (frame, gone) => this.#postLetter(frame, gone),
    });
  }

  async start(deadline: Deadline): Promise<void> {
    const { http, launched, egress } = this.#options;
    let address = http.url;
    if (launched) {
      const owner = this.server;
      const { port } = await this.runtime.waits.for(launched.start(deadline), {
        label: 'upstream-start',
        owner,
        deadline,
      });
      address = address.replace(PORT_IN_URL, String(port));
    }
    void this.events.phase('connect');
    this.#wire = openWire(egress, this.limits, { server: this.server, http, address, events: this.events });
    if (launched) await untilListening(this.runtime, this.#wire.pool, this.server, deadline);
  }

  send(frame: Buffer, id: number | undefined, deadline: Deadline): Outcome<void> {
    if (this.#stopped || !this.#wire) return new Refusal('server-down', undefined, { server: this.server });
    this.#quoted.sent(frame);
    if (id === undefined) return this.#order.letter((gone) => this.#outbox.send(frame, deadline, gone));
    this.#held.sends(id);
    const exchange = new HttpExchange(this, frame, id, { session: this.#held.id, again: false, gone: undefined });
    this.retries.sent();
    return this.#admit(exchange) ? this.#order.post(exchange) : fullRefusal(this.server);
  }

  abort(id: number): boolean {
    // An exchange that is missing has been sent and answered.
    const own = [...this.#exchanges.values()].filter((exchange) => exchange.id === id);
    const sent = own.map((exchange) => exchange.abort());
    return own.length === 0 || sent.includes(true);
  }

  negotiated(version: string | undefined, declared: DeclaredHeaders = NOTHING_DECLARED): void {
    this.#version = version;
    this.#declared = declared;
    // A server that gave a session but uses the stateless era expects no session id.
    if (version === VERSION_2026) this.#held.forget();
    this.#wire?.headers.set(this.#held.id, version);
    // The stateless era has no notification that must come first, and no GET stream.
    if (version !== undefined && version !== VERSION_2026) this.#order.arm();
  }

  announce(version: string | undefined): void {
    this.#wire?.headers.set(this.#held.id, version);
  }

  cpuMs(): number | undefined {
    return this.#options.launched?.cpuMs();
  }

  cpuReadMs(): number | undefined {
    return this.#options.launched?.cpuReadMs();
  }

  stderrTail(): readonly string[] {
    return this.#options.launched?.stderrTail() ?? [];
  }

  async stop(deadline: Deadline): Promise<void> {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#order.reset();
    this.#stream.close();
    this.#outbox.close();
    for (const exchange of [...this.#exchanges.values()]) exchange.abort();
    const { launched } = this.#options;
    const wire = this.#wire;
    if (wire) {
      // A launched program loses its sessions when it ends.
      if (!launched) await this.#held.close(deadline);
      if (this.#late?.stop() ?? true) await wire.pool.close(deadline);
    }
    this.#exchanges[Symbol.dispose]();
    this.buffered[Symbol.dispose]();
    if (launched) await stopLaunched(this.runtime, this.server, launched, deadline);
  }

  sessionGiven(id: string): void {
    if (this.#held.isOpen || this.#stopped || this.#version === VERSION_2026) return;
    this.#held.given(id, this.#version);
    this.#wire?.headers.set(id, this.#version);
  }

  sessionMissing(exchange: SentExchange, fault: HubError): void {
    if (exchange.session !== this.#held.id) {
      // It was sent in a session that has been replaced: it was not executed, so it is sent once more in the new one.
      if (this.#version !== undefined && this.resend(exchange)) return;
      if (exchange.id === undefined) return;
    }
    this.events.sessionLost(exchange.id, fault);
  }

  forgetSession(): void {
    this.#held.forget();
    this.#version = undefined;
    this.#order.reset();
    this.#stream.close();
    this.#wire?.headers.set(undefined, undefined);
  }

  resend(exchange: SentExchange): boolean {
    if (this.#stopped || exchange.again || exchange.id === undefined) return false;
    const next = this.#another(exchange);
    if (next) this.#dispatch(next);
    return next !== undefined;
  }

  /** Creates the same request again; undefined when too many are pending. */
  #another({ frame, id }: SentExchange): HttpExchange | undefined {
    const next = new HttpExchange(this, frame, id, { session: this.#held.id, again: true, gone: undefined });
    return this.#admit(next) ? next : undefined;
  }

  goOn({ frame, id, session }: SentExchange, place: StreamPlace): boolean {
    if (this.#stopped || place.tries > RESUMES) return false;
    const next = new HttpExchange(this, frame, id, { session, again: true, gone: undefined, place });
    if (!this.#admit(next)) return false;
    dispatchLater(this.runtime.timers, next, place.retryMs, () => this.#dispatch(next));
    return true;
  }

  answered(sinceMs: number): void {
    this.#stream.answered(sinceMs);
  }

  mayReplyLater(): number | undefined {
    if (!this.#stream.isOpen || this.#stopped) return undefined;
    return this.#stream.hasReplied ? Number.POSITIVE_INFINITY : this.limits.silenceMs;
  }

  released(exchange: SentExchange): void {
    if (exchange.slot >= 0) this.#exchanges.free(exchange.slot);
    exchange.slot = -1;
  }

  #admit(exchange: HttpExchange): boolean {
    exchange.slot = this.#exchanges.add(exchange);
    return exchange.slot >= 0;
  }

  #dispatch(exchange: HttpExchange): void {
    if (!this.#wire) return;
    const stateless = this.#version === VERSION_2026 ? this.#declared : undefined;
    const request = requestOf(exchange, this.#wire, stateless);
    // Before a version is negotiated no other request is sent.
    const isOpening = this.#version === undefined && exchange.id !== undefined && !this.#held.isOpen;
    const opening = isOpening ? this.#late?.opening(exchange) : undefined;
    const sent = this.#wire.pool.dispatch(request, opening ?? exchange);
    exchange.dispatched(opening?.dispatched(sent) ?? sent);
    this.#stream.posted();
  }

  #postLetter(frame: Buffer, gone: () => void): HttpExchange | undefined {
    if (!this.#wire || this.#stopped) return undefined;
    const letter = new HttpExchange(this, frame, undefined, { session: this.#held.id, again: true, gone });
    this.#dispatch(letter);
    return letter;
  }
}
