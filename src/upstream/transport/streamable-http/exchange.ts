/**
 * One POST to an HTTP server and its response, as a handler of the egress pool: no promise, signal or timer per call.
 * Guarantees: `failed` or the reply comes at most once; the body is read to its end or cut, within a second after it.
 */
import type { HubError } from '../../../model/errors.ts';
import {
  isUndecodable,
  type ResponseController,
  type ResponseHandler,
  type ResponseHeaders,
} from '../../../net/egress.ts';
import { hubErrorFromNet, isConnectionLoss, type NetFaultContext } from '../../../net/errors.ts';
import type { Envelope } from '../../../protocol/message.ts';
import type { TimerWheelEntry } from '../../../runtime/timer-wheel.ts';
import {
  type AnswerKind,
  answerKind,
  crowdedFault,
  endedFault,
  faultOf,
  protocolFault,
  sessionIdIn,
} from '../http/answer.ts';
import { BodyCollector } from '../http/body-collector.ts';
import { isHarmlessTwice, isReplyTo } from '../http/messages.ts';
import { PacedAnswer } from '../http/paced-answer.ts';
import type { ExchangeHost, ExchangeOrigin } from './exchange-host.ts';
import type { PendingPost } from './get-stream.ts';
import { SessionPost } from './outgoing.ts';
import { readHttpError } from './read-http-error.ts';
import { placeAfter } from './resume.ts';

/** Bytes and time for reading the rest of a settled exchange, so that its connection can be reused. */
const [DRAIN_BYTES, LINGER_MS] = [64 * 1024, 1000];
/** Time for which a better answer may follow one that names no request. */
const DOUBT_MS = 1000;

export class HttpExchange extends SessionPost implements ResponseHandler, PendingPost {
  readonly #host: ExchangeHost;
  /** Set at `dispatch`: aborts a request that still waits for a connection. */
  #dispatched: ResponseController | undefined;
  /** Set when the request was about to be written: its server may have received it. */
  #controller: ResponseController | undefined;
  #kind: AnswerKind | undefined;
  #status = 0;
  #headers: ResponseHeaders = {};
  #body: BodyCollector | undefined;
  #answer: PacedAnswer | undefined;
  #drained = 0;
  #heldBytes = 0;
  #aborted = false;
  #settled = false;
  #ended = false;
  #released = false;
  #linger: TimerWheelEntry | undefined;
  #doubt: Disposable | undefined;
  /** Its answer ended without the reply, which may come on the GET stream; the fault if it does not. */
  #missing: HubError | undefined;

  constructor(host: ExchangeHost, frame: Buffer, id: number | undefined, origin: ExchangeOrigin) {
    super(frame, id, origin, host.runtime.clock.nowMs());
    this.#host = host;
  }

  get aborted(): boolean {
    return this.#aborted;
  }

  dispatched(controller: ResponseController): void {
    this.#dispatched = controller;
    if (this.#aborted) this.#cut();
  }

  /** Cancels it, with its connection. Returns false when nothing of it, or of one that it repeats, was sent. */
  abort(): boolean {
    const mayHaveLeft = this.#controller !== undefined || this.again;
    if (this.#aborted) return mayHaveLeft;
    this.#aborted = this.#settled = true;
    if (this.held || this.resting || this.#missing || this.#ended) this.#release();
    else this.#cut();
    this.resting = false;
    return mayHaveLeft;
  }

  get isAnswered(): boolean {
    return this.#settled || this.#kind !== undefined;
  }

  get awaitsStream(): boolean {
    return this.#missing !== undefined && !this.#settled;
  }

  /** Its reply came on the GET stream: ends the call, and reads the rest for at most a second. */
  replied(): void {
    if (!this.#settled) this.#settle();
    if (this.#missing) this.#release();
  }

  missed(): void {
    if (!this.#missing) return;
    this.#fail(this.#missing);
    this.#release();
  }

  onRequestStart(controller: ResponseController): void {
    this.#controller = controller;
    if (this.#aborted) this.#cut();
  }

  onResponseStart(_controller: ResponseController, status: number, headers: ResponseHeaders): void {
    if (status < 200) return;
    this.#status = status;
    if (this.id !== undefined) this.#host.answered(this.sinceMs);
    const kind = answerKind(status, headers, this.id !== undefined);
    this.#kind = kind;
    try {
      if (status < 300 && this.session === undefined && this.id !== undefined) {
        const session = sessionIdIn(headers);
        if (session !== undefined) this.#host.sessionGiven(session);
      }
    } catch (fault) {
      return this.#fail(hubErrorFromNet(fault, this.#context('answer')));
    }
    this.#begin(kind, headers);
  }

  onResponseData(controller: ResponseController, chunk: Buffer): void {
    if (this.#settled) {
      this.#drained += chunk.length;
      if (this.#drained > DRAIN_BYTES) this.#cut();
      return;
    }
    // An error body is no sign of life: a server that only returns errors is not healthy.
    if (this.id !== undefined && !this.#body) this.#host.events.alive(this.id);
    if (!this.#host.buffered.take(chunk.length)) return this.#failNow(crowdedFault(this.#host.server));
    this.#heldBytes += chunk.length;
    if (this.#answer) this.#answer.take(chunk, controller);
    else if (this.#body?.add(chunk) === false) this.#finishError();
  }

  onResponseEnd(): void {
    this.#ended = true;
    if (this.#answer) this.#answer.finish(undefined, !this.#settled);
    else this.#over(undefined);
  }

  onResponseError(_controller: ResponseController, fault: Error): void {
    this.#ended = true;
    // The reply may be in what was received before.
    if (this.#answer && !this.#aborted) this.#answer.finish(fault, false);
    else this.#over(fault);
  }

  /** Everything received has been read. */
  #over(fault: Error | undefined): void {
    if (fault) return this.#broken(fault);
    if (!this.#settled) {
      const { server } = this.#host;
      if (this.#answer && this.#answer.kind !== 'sse')
        this.#miss(this.#answer.fault ?? protocolFault(server, this.#status, 'it has another id than the request'));
      else if (this.#body) this.#finishError();
      else if (this.id !== undefined && !this.#goOn())
        this.#miss(this.#answer?.doubt ?? endedFault(server, this.#context('answer').waitedMs));
    }
    if (!this.#missing) this.#release();
  }

  #broken(fault: Error): void {
    if (!this.#settled) {
      const unanswered = this.#kind === undefined && isConnectionLoss(fault);
      // If a kept connection closes during a write, the server may have read the request: resend repeatable ones only.
      const isRepeatable = unanswered && !this.again && isHarmlessTwice(this.frame);
      const phase = this.#kind !== undefined ? 'answer' : this.#controller ? 'request' : 'connect';
      if (isRepeatable && this.#host.retries.take() && this.#host.resend(this)) this.#settled = true;
      else if (isUndecodable(fault) || !this.#goOn()) this.#fail(hubErrorFromNet(fault, this.#context(phase)));
    }
    this.#release();
  }

  /** Continues a stream that has ended without the answer, if it gave a position. */
  #goOn(): boolean {
    if (this.#aborted || this.id === undefined || this.#answer?.kind !== 'sse') return false;
    const place = placeAfter(this.#answer, this.place);
    this.#settled = place !== undefined && this.#host.goOn(this, place);
    return this.#settled;
  }

  #begin(kind: AnswerKind, headers: ResponseHeaders): void {
    const { limits, server } = this.#host;
    // The call must not be sent again: the server has read it.
    if (this.place && kind !== 'sse') return this.#failNow(endedFault(server, this.#context('answer').waitedMs));
    if (kind === 'json' || kind === 'sse' || kind === 'foreign') {
      if (this.id !== undefined) this.#host.events.alive(this.id);
      this.#answer = new PacedAnswer({
        runtime: this.#host.runtime,
        host: this.#host,
        id: this.id,
        declared: kind,
        status: this.#status,
        headers,
        message: (message) => this.#deliver(message),
        alive: () => this.id === undefined || this.#host.events.alive(this.id),
        read: () => this.#read(),
        over: (fault) => this.#over(fault),
      });
      if (this.#answer.fault) this.#failNow(this.#answer.fault);
    } else if (kind === 'error' || kind === 'auth') {
      this.#headers = headers;
      this.#body = new BodyCollector(limits.errorBytes);
      // The status is sufficient if the body does not come.
      if (kind === 'auth') this.#doubt = this.#host.runtime.timers.after(DOUBT_MS, () => this.#finishError());
    } else if (kind === 'done') this.#settle();
    else this.#fail(faultOf(kind, server, this.#status, headers));
  }

  /** Handles an answer that has ended without the reply. */
  #miss(fault: HubError): void {
    const waitMs = this.#answer?.isEmpty ? this.#host.mayReplyLater() : undefined;
    if (waitMs === undefined || this.#aborted) return this.#fail(fault);
    this.#missing = fault;
    // A server that has replied there before may take as long as any other; the link watches the silence.
    if (Number.isFinite(waitMs)) this.#doubt ??= this.#host.runtime.timers.after(waitMs, () => this.missed());
  }

  /** Reads an HTTP error. A JSON-RPC error in it for this request is the server's answer and is passed on unchanged. */
  #finishError(): void {
    if (this.#settled) return;
    const about = { status: this.#status, headers: this.#headers, body: this.#body?.take() ?? Buffer.alloc(0) };
    const { fault, replies, isSessionError } = readHttpError(this.#host, this, about, this.#kind === 'auth');
    if (isSessionError && this.session !== undefined) {
      this.#settle();
      return this.#host.sessionMissing(this, fault);
    }
    for (const own of replies) this.#deliver(own);
    this.#failNow(fault);
  }

  /** Everything received of the answer has been read. */
  #read(): void {
    const { fault, doubt, isBetween } = this.#answer ?? {};
    if (fault && !this.#settled) return this.#failNow(fault);
    if (doubt && !this.#settled) this.#doubt ??= this.#host.runtime.timers.after(DOUBT_MS, () => this.#failNow(doubt));
    if (isBetween) this.#giveBytes();
  }

  #giveBytes(): void {
    this.#host.buffered.give(this.#heldBytes);
    this.#heldBytes = 0;
  }

  /** Delivers a reply. One with another id, or a second one, must not reach the call with that id. */
  #deliver(message: Envelope): void {
    if (this.#aborted || this.id === undefined) return;
    if (message.kind === 'reply') {
      if (this.#settled || !isReplyTo(message, this.id)) return;
      this.#settle();
    }
    this.#host.events.message(message, this.id);
  }

  #fail(fault: HubError): void {
    if (this.#settled) return;
    this.#settle();
    if (this.dispatching) this.refused = fault;
    else if (this.id !== undefined) this.#host.events.failed(this.id, fault);
  }

  #failNow(fault: HubError): void {
    this.#fail(fault);
    if (!this.#ended) this.#cut();
  }

  /** From here on the rest is read only to keep the connection, for at most a second. */
  #settle(): void {
    this.#settled = true;
    if (this.#ended) return;
    this.#linger = this.#host.runtime.wheel.add(this.#host.runtime.clock.nowMs() + LINGER_MS, () => this.#cut());
  }

  #cut(): void {
    (this.#controller ?? this.#dispatched)?.abort(this.#host.abortReason);
  }

  #release(): void {
    if (this.#released) return;
    this.#released = true;
    this.#giveBytes();
    this.#answer?.cancel();
    this.#doubt?.[Symbol.dispose]();
    if (this.#linger) this.#host.runtime.wheel.remove(this.#linger);
    this.#linger = this.#controller = this.#dispatched = undefined;
    if (this.gone) this.gone();
    else this.#host.released(this);
  }

  #context(phase: string): NetFaultContext & { waitedMs: number } {
    const waitedMs = this.#host.runtime.clock.nowMs() - this.sinceMs;
    return { server: this.#host.server, phase, sent: !!this.#controller, waitedMs, asked: this.#host.asked('POST') };
  }
}
