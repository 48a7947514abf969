/**
 * One POST to the endpoint of an HTTP+SSE server. It delivers; the reply comes on the long stream, and some servers write it into the answer of the POST.
 * Promises: a failed delivery is told once, with the code that fits; whatever else a server writes into the answer is read and thrown away, up to a bound;
 * a POST whose reply has come already is cut after a second; nothing is delivered twice except what may be.
 * Does not: wait for the reply or time anything (the link does, and calls `abort`): some servers answer the POST only when the tool has finished.
 */
import type { Limits } from '../../../config/limits.ts';
import type { HubError } from '../../../model/errors.ts';
import type { ResponseController, ResponseHandler, ResponseHeaders } from '../../../net/egress.ts';
import { hubErrorFromNet, isConnectionLoss } from '../../../net/errors.ts';
import type { Envelope } from '../../../protocol/message.ts';
import type { CappedCount } from '../../../runtime/capped.ts';
import type { Runtime } from '../../../runtime/runtime.ts';
import type { TimerWheelEntry } from '../../../runtime/timer-wheel.ts';
import { answerKind, redirectFault } from '../http/answer.ts';
import { BodyCollector } from '../http/body-collector.ts';
import { httpFault } from '../http/http-fault.ts';
import { isHarmlessTwice, isReplyTo } from '../http/messages.ts';
import { PacedAnswer } from '../http/paced-answer.ts';
import { OutgoingPost, type PostOrigin } from '../streamable-http/outgoing.ts';
import type { TransportEvents } from '../transport.ts';

/** The transport, as its POSTs see it. */
export interface SsePostHost {
  readonly runtime: Runtime;
  readonly limits: Limits;
  /** Name of the server, for people. */
  readonly server: string;
  readonly events: TransportEvents;
  readonly abortReason: Error;
  /** Method and address of its POSTs, for the operator. */
  asked(): string;
  /** Delivers the same frame once more, in place of this one. False = it cannot. */
  resend(post: SsePost): boolean;
  /** Bytes of unfinished answers of this server. */
  readonly buffered: CappedCount;
  /** A message was in the answer. */
  message(envelope: Envelope): void;
  /** It needs its slot no longer. May come twice. */
  released(post: SsePost): void;
}

/** Read of a body that nobody wants, so that its connection can be used again. */
const DRAIN_BYTES = 64 * 1024;
const LINGER_MS = 1000;

export class SsePost extends OutgoingPost implements ResponseHandler {
  readonly #host: SsePostHost;
  /** From `dispatch`: by it a request that still waits for a connection is aborted. */
  #dispatched: ResponseController | undefined;
  /** The same once the request was about to be written. */
  #controller: ResponseController | undefined;
  #status = 0;
  #headers: ResponseHeaders = {};
  #page: BodyCollector | undefined;
  #drained = 0;
  #aborted = false;
  #settled = false;
  #released = false;
  #linger: TimerWheelEntry | undefined;
  #refusal: Disposable | undefined;
  /** Of a request that was taken: the reply may be in it. */
  #answer: PacedAnswer | undefined;
  #heldBytes = 0;
  /** The answer is that of the call, as with Streamable HTTP. */
  #isWhole = false;

  constructor(host: SsePostHost, frame: Buffer, id: number | undefined, origin: PostOrigin) {
    super(frame, id, origin, host.runtime.clock.nowMs());
    this.#host = host;
  }

  dispatched(controller: ResponseController): void {
    if (this.#released) return;
    this.#dispatched = controller;
    if (this.#aborted) this.#cut();
  }

  /** Nobody waits for it any more: it leaves the pool at once, with the connection that carries it. False = the server cannot have got it. */
  abort(): boolean {
    const mayHaveLeft = this.#controller !== undefined || this.again;
    if (this.#aborted) return mayHaveLeft;
    this.#aborted = true;
    this.#settled = true;
    if (this.held) this.#release();
    else this.#cut();
    return mayHaveLeft;
  }

  /** The reply has come on the stream: the call's place is free, also while the POST is still being answered. */
  replied(): void {
    this.#settle();
    this.#lingers();
    this.#dropAnswer();
    this.#host.released(this);
  }

  onRequestStart(controller: ResponseController): void {
    this.#controller = controller;
    if (this.#aborted) this.#cut();
  }

  onResponseStart(_controller: ResponseController, status: number, headers: ResponseHeaders): void {
    if (status < 200) return;
    this.#status = status;
    if (this.#settled) return;
    const { runtime, server, limits, events } = this.#host;
    const kind = answerKind(status, headers, false);
    if (kind === 'redirect') this.#fail(redirectFault(server, status, headers));
    else if (kind === 'error' || kind === 'auth') {
      this.#headers = headers;
      this.#page = new BodyCollector(limits.errorBytes);
      // Its status says enough, if its words do not come.
      if (kind === 'auth') this.#refusal = runtime.timers.after(LINGER_MS, () => this.#finishRefusal());
    } else {
      if (this.id !== undefined) {
        events.alive(this.id);
        this.#begin(this.id, headers);
      }
      this.#settle();
    }
  }

  /** HTTP 200 with a type of messages has the reply in it, which may take its time; behind any other answer it is looked for while that is read anyway. */
  #begin(id: number, headers: ResponseHeaders): void {
    const kind = answerKind(this.#status, headers, true);
    if (kind !== 'json' && kind !== 'sse' && kind !== 'foreign') return;
    const host = { server: this.#host.server, limits: this.#host.limits, mislabelled: () => {} };
    this.#answer = new PacedAnswer({
      ...{ runtime: this.#host.runtime, host, id, declared: kind, status: this.#status, headers },
      message: (message) => this.#hand(message),
      alive: () => this.#isWhole && this.#host.events.alive(id),
      read: () => this.#readOn(),
      over: (fault) => this.#over(fault),
    });
    this.#isWhole = this.#status === 200 && kind !== 'foreign';
  }

  /** What is no reply says nothing of the call: its reply may come on the stream. */
  #take(answer: PacedAnswer, chunk: Buffer, controller: ResponseController): void {
    if (this.#isWhole && this.id !== undefined) this.#host.events.alive(this.id);
    if (!this.#host.buffered.take(chunk.length)) return this.#dropAnswer();
    this.#heldBytes += chunk.length;
    answer.take(chunk, controller);
  }

  #readOn(): void {
    if (this.#answer?.fault) this.#dropAnswer();
    else if (this.#answer?.kind === 'sse') this.#giveBytes();
  }

  #hand(message: Envelope): void {
    const { id } = this;
    if (id === undefined || this.#aborted) return;
    if (message.kind !== 'reply' || isReplyTo(message, id)) this.#host.message(message);
  }

  /** The rest is thrown away. */
  #dropAnswer(): void {
    this.#answer?.cancel();
    this.#answer = undefined;
    this.#isWhole = false;
    this.#giveBytes();
    if (this.#settled) this.#lingers();
  }

  #giveBytes(): void {
    this.#host.buffered.give(this.#heldBytes);
    this.#heldBytes = 0;
  }

  onResponseData(controller: ResponseController, chunk: Buffer): void {
    if (!this.#settled && this.#page) {
      if (this.#page.add(chunk)) return;
      this.#failWithPage();
      this.#cut();
      return;
    }
    if (this.#answer) this.#take(this.#answer, chunk, controller);
    if (this.#isWhole) return;
    this.#drained += chunk.length;
    if (this.#drained > DRAIN_BYTES) this.#cut();
  }

  onResponseEnd(): void {
    if (!this.#settled && this.#page) this.#failWithPage();
    if (this.#answer) this.#answer.finish(undefined, true);
    else this.#release();
  }

  onResponseError(_controller: ResponseController, fault: Error): void {
    if (this.#answer && !this.#aborted) this.#answer.finish(fault, false);
    else this.#over(fault);
  }

  #over(fault: Error | undefined): void {
    if (fault && !this.#settled) {
      const mayGoAgain = this.#status === 0 && this.id !== undefined && !this.again && isConnectionLoss(fault);
      // A kept-alive connection may be closed by its server while we write to it (see _http-exchange.ts).
      if (mayGoAgain && isHarmlessTwice(this.frame) && this.#host.resend(this)) this.#settled = true;
      else this.#failFromNet(fault);
    }
    this.#release();
  }

  #failFromNet(fault: Error): void {
    const { server, runtime } = this.#host;
    const sent = this.#controller !== undefined;
    const phase = sent ? 'request' : 'connect';
    const waitedMs = runtime.clock.nowMs() - this.sinceMs;
    this.#fail(hubErrorFromNet(fault, { server, phase, sent, waitedMs, asked: this.#host.asked() }));
  }

  #failWithPage(): void {
    const body = this.#page?.take() ?? Buffer.alloc(0);
    const asked = this.#host.asked();
    this.#fail(httpFault(this.#host, { status: this.#status, headers: this.#headers, body, asked }));
  }

  #finishRefusal(): void {
    if (this.#settled) return;
    this.#failWithPage();
    this.#cut();
  }

  #fail(fault: HubError): void {
    if (this.#settled) return;
    this.#settle();
    if (this.dispatching) this.refused = fault;
    else if (this.id !== undefined) this.#host.events.failed(this.id, fault);
  }

  /** What still comes is only read to keep the connection, for a second at most. */
  #settle(): void {
    if (this.#settled) return;
    this.#settled = true;
    if (!this.#isWhole) this.#lingers();
  }

  #lingers(): void {
    if (this.#released || this.#linger) return;
    const { clock, wheel } = this.#host.runtime;
    this.#linger = wheel.add(clock.nowMs() + LINGER_MS, () => this.#cut());
  }

  #cut(): void {
    this.#aborted = true;
    (this.#controller ?? this.#dispatched)?.abort(this.#host.abortReason);
  }

  #release(): void {
    if (this.#released) return;
    this.#released = true;
    this.#refusal?.[Symbol.dispose]();
    this.#answer?.cancel();
    this.#answer = undefined;
    this.#giveBytes();
    if (this.#linger) this.#host.runtime.wheel.remove(this.#linger);
    this.#linger = undefined;
    this.#controller = undefined;
    this.#dispatched = undefined;
    if (this.gone) this.gone();
    else this.#host.released(this);
  }
}
