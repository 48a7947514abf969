/**
 * HTTP+SSE transport (specification 2024-11-05, transports) to one server: a GET stream that gives an endpoint,
 * messages POSTed there, answers on the stream or in the response to their POST. It owns the sockets of its pool.
 * Guarantees: see `transport.ts`; at most serverConnections + 8 sockets; the stream is the session: `closed` comes at
 * its end; requests wait for the answer to notifications/initialized (`post-order.ts`); no headers of clients are sent.
 */
import type { Limits } from '../../../config/limits.ts';
import { HubError } from '../../../model/errors.ts';
import { type Outcome, Refusal } from '../../../model/outcome.ts';
import type { ServerSpec, SseSpec } from '../../../model/snapshot.ts';
import type { Egress, EgressPool } from '../../../net/egress.ts';
import { basicLogin } from '../../../net/header-value.ts';
import type { Envelope } from '../../../protocol/message.ts';
import { CappedCount } from '../../../runtime/capped.ts';
import { CappedSlots } from '../../../runtime/capped-slots.ts';
import type { Deadline } from '../../../runtime/deadline.ts';
import type { Runtime } from '../../../runtime/runtime.ts';
import { brokenFault } from '../../connection/invalid-answer.ts';
import { QuotedReplies } from '../../connection/quoted-replies.ts';
import { guardedEvents } from '../guarded-events.ts';
import { addressOf, signsOf } from '../http/http-fault.ts';
import { isReplyTo } from '../http/messages.ts';
import { OPEN_AT_ONCE, Outbox } from '../http/outbox.ts';
import { fullRefusal, PostOrder, withoutEarly } from '../http/post-order.ts';
import { RequestHeaders } from '../http/request-headers.ts';
import { schemeFault } from '../http/scheme-fault.ts';
import { movedNote } from '../http/wire.ts';
import type { Transport, TransportEvents } from '../transport.ts';
import { SseStream } from './event-stream.ts';
import { SsePost, type SsePostHost } from './post.ts';

export interface SseTransportOptions {
  readonly runtime: Runtime;
  readonly limits: Limits;
  readonly spec: ServerSpec;
  readonly sse: Pick<SseSpec, 'url' | 'headers'>;
  readonly egress: Egress;
  readonly events: TransportEvents;
}

/**
 * Sockets beside those of calls: pings, lists, notifications, the stream. Hung POSTs must not block the liveness probe.
 */
const SIDE_SOCKETS = 8;
/** Number of answers of the largest size that may arrive in responses to POSTs at once. */
const LARGE_ANSWERS = 4;
const SIDE_REQUESTS = SIDE_SOCKETS - OPEN_AT_ONCE - 1;

export function createSseTransport(options: SseTransportOptions): Transport {
  return new SseTransport(options);
}

/** What exists once the endpoint is known. */
interface Wire {
  readonly path: string;
  /** For the operator. */
  readonly address: string;
  readonly headers: RequestHeaders;
}

class SseTransport implements Transport, SsePostHost {
  readonly runtime: Runtime;
  readonly limits: Limits;
  readonly server: string;
  readonly events: TransportEvents;
  readonly abortReason = new Error('The hub no longer waits for this request.');
  readonly signs = (): readonly string[] => signsOf(this.asked(), this.#pool?.peer, []);
  readonly asked = (): string => `POST ${this.#wire?.address ?? this.server}`;
  readonly explained = (fault: unknown, deadline: Deadline): Promise<unknown> =>
    schemeFault(fault, { pool: this.#pool, url: this.#options.sse.url }, deadline);
  readonly #options: SseTransportOptions;
  readonly buffered: CappedCount;
  readonly #posts: CappedSlots<SsePost>;
  readonly #outbox: Outbox;
  #pool: EgressPool | undefined;
  #stream: SseStream | undefined;
  /** Ends the wait for the endpoint. */
  #giveUp: ((fault: HubError) => void) | undefined;
  #wire: Wire | undefined;
  readonly #order: PostOrder<SsePost>;
  /** Stopped, or the stream has ended. */
  #over = false;
  #stopped = false;
  readonly #quoted = new QuotedReplies();

  constructor(options: SseTransportOptions) {
    const { runtime, limits, spec } = options;
    this.#options = options;
    this.runtime = runtime;
    this.limits = limits;
    this.server = spec.name;
    const guarded = guardedEvents(options.events, runtime, spec.name, () => this.#over);
    this.events = withoutEarly(guarded, (reply, isError) => this.#order.passes(reply, isError));
    this.#posts = new CappedSlots('upstream.sse.posts', limits.serverConnections + SIDE_REQUESTS, runtime.ceilings);
    const bytes = limits.answerBytes * LARGE_ANSWERS;
    this.buffered = new CappedCount('upstream.sse.buffered', bytes, 'refuse', runtime.ceilings);
    this.#order = new PostOrder({
      timers: runtime.timers,
      posts: () => this.#posts.values(),
      dispatch: (post) => this.#dispatch(post),
      open: (there) => there(),
      isStreamFirst: false,
      handshakeMs: () => limits.handshakeMs,
      again: (post) => this.#another(post),
    });
    this.#outbox = new Outbox({
      runtime,
      server: spec.name,
      lifeMs: () => limits.handshakeMs,
      post: (frame, gone) => this.#postLetter(frame, gone),
    });
  }

  async start(deadline: Deadline): Promise<void> {
    const { sse, egress } = this.#options;
    void this.events.phase('connect');
    const url = URL.parse(sse.url);
    if (url === null)
      throw new HubError('config-invalid', {
        message: 'The server’s address is not a URL.',
        detail: { server: this.server },
      });
    const connections = this.limits.serverConnections + SIDE_SOCKETS;
    const pool = egress.open(url, { owner: this.server, connections, addresses: 'any', moved: movedNote(this.events) });
    this.#pool = pool;
    const headers = new RequestHeaders(sse.headers, basicLogin(url), pool.headers);
    const endpoint = await this.#openStream({ url, pool, headers }, deadline);
    this.#wire = { path: pool.pathOf(endpoint), address: addressOf(endpoint), headers };
  }

  send(frame: Buffer, id: number | undefined, deadline: Deadline): Outcome<void> {
    if (this.#over || !this.#wire) return new Refusal('server-down', undefined, { server: this.server });
    this.#quoted.sent(frame);
    if (id === undefined) return this.#order.letter((gone) => this.#outbox.send(frame, deadline, gone));
    const post = new SsePost(this, frame, id, { again: false, gone: undefined });
    return this.#admit(post) ? this.#order.post(post) : fullRefusal(this.server);
  }

  get mayQuoteUnowned(): boolean {
    return this.#quoted.mayUnowned;
  }

  abort(id: number): boolean {
    // A POST that is missing has been sent and answered.
    const own = [...this.#posts.values()].filter((post) => post.id === id);
    const sent = own.map((post) => post.abort());
    return own.length === 0 || sent.includes(true);
  }

  /** This transport has no version header; only the order of what follows matters. */
  forgetSession(): void {}

  negotiated(): void {
    this.#order.arm();
  }

  cpuMs(): undefined {
    return undefined;
  }

  cpuReadMs(): number | undefined {
    return undefined;
  }

  stderrTail(): readonly string[] {
    return [];
  }

  async stop(deadline: Deadline): Promise<void> {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#over = true;
    this.#giveUp?.(new HubError('server-down', { message: `${this.server} was stopped.` }));
    this.#endAll();
    await this.#pool?.close(deadline);
    this.#posts[Symbol.dispose]();
    this.buffered[Symbol.dispose]();
  }

  resend(post: SsePost): boolean {
    if (this.#over) return false;
    const next = this.#another(post);
    if (next) this.#dispatch(next);
    return next !== undefined;
  }

  /** Creates the same request again; undefined when too many are pending. */
  #another({ frame, id }: SsePost): SsePost | undefined {
    const next = new SsePost(this, frame, id, { again: true, gone: undefined });
    return this.#admit(next) ? next : undefined;
  }

  released(post: SsePost): void {
    if (post.slot >= 0) this.#posts.free(post.slot);
    post.slot = -1;
  }

  /** Opens the stream and returns its endpoint. Throws a fault that says what came instead. */
  async #openStream(
    { url, pool, headers }: { url: URL; pool: EgressPool; headers: RequestHeaders },
    deadline: Deadline,
  ): Promise<URL> {
    const { runtime, limits, server, abortReason } = this;
    const named = Promise.withResolvers<URL>();
    this.#giveUp = named.reject;
    let isOpen = false;
    const stream = new SseStream({
      runtime,
      limits,
      server,
      url,
      abortReason,
      quoted: this.#quoted,
      opened(endpoint) {
        isOpen = true;
        named.resolve(endpoint);
      },
      alive: () => this.events.alive(undefined),
      message: (envelope) => this.message(envelope),
      unreadable: (id, why, data) => {
        const fault = brokenFault(server, why, data);
        if (id === undefined) return this.events.unreadable(fault);
        this.#replied((post) => post.id === id);
        this.events.failed(id, fault);
      },
      said: (line) => this.events.said(line),
      lost: (fault) => (isOpen ? this.#lost(fault) : named.reject(fault)),
    });
    this.#stream = stream;
    pool.dispatch({ method: 'GET', path: pool.pathOf(url), headers: headers.stream(undefined), body: null }, stream);
    // Not the whole time: the following handshake needs its part.
    using soon = deadline.sooner(limits.handshakeMs);
    try {
      return await runtime.waits.for(named.promise, { label: 'upstream-connect', owner: server, deadline: soon });
    } catch (fault) {
      stream.abort();
      const isLate = fault instanceof HubError && fault.code === 'wait-expired' && soon.ended === 'time-up';
      throw isLate ? unnamedFault(server, limits.handshakeMs) : fault;
    }
  }

  message(envelope: Envelope): void {
    if (envelope.kind === 'reply') this.#replied(({ id }) => id !== undefined && isReplyTo(envelope, id));
    this.events.message(envelope, undefined);
  }

  #replied(isMeant: (post: SsePost) => boolean): void {
    for (const post of [...this.#posts.values()]) if (isMeant(post)) post.replied();
  }

  /** The stream is the session: its end ends everything. */
  #lost(fault: HubError): void {
    if (this.#over) return;
    this.events.closed(fault);
    this.#over = true;
    this.#endAll();
  }

  #endAll(): void {
    this.#order.reset();
    this.#stream?.abort();
    this.#outbox.close();
    for (const post of [...this.#posts.values()]) post.abort();
  }

  #admit(post: SsePost): boolean {
    post.slot = this.#posts.add(post);
    return post.slot >= 0;
  }

  #dispatch(post: SsePost): void {
    if (!this.#wire || !this.#pool) return;
    const { path, headers } = this.#wire;
    post.dispatched(this.#pool.dispatch({ method: 'POST', path, headers: headers.post, body: post.frame }, post));
  }

  #postLetter(frame: Buffer, gone: () => void): SsePost | undefined {
    if (this.#over) return undefined;
    const letter = new SsePost(this, frame, undefined, { again: true, gone });
    this.#dispatch(letter);
    return letter;
  }
}

function unnamedFault(server: string, waitedMs: number): HubError {
  return new HubError('upstream-timeout', {
    message: `The server named no endpoint on its event stream within ${waitedMs} ms; the setting handshakeMs allows more.`,
    detail: { server, phase: 'connect', waitedMs, setting: 'handshakeMs' },
  });
}
