/**
 * One POST to the endpoint of an HTTP+SSE server. The reply comes on the stream, from some servers in the response.
 * Guarantees: a failed delivery is reported once; the rest of a response is read and dropped, up to a limit; a POST
 * whose reply has come is closed after a second; only repeatable messages are sent twice. It has no timeout, because
 * some servers respond only when the tool has finished: the link calls `abort`.
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

/** The transport, as its POSTs use it. */
export interface SsePostHost {
  readonly runtime: Runtime;
  readonly limits: Limits;
  /** Name of the server, for people. */
  readonly server: string;
  readonly events: TransportEvents;
  readonly abortReason: Error;
  /** Returns method and address of its POSTs, for the operator. */
  asked(): string;
  /** Sends the same frame again in place of this POST; returns false when it cannot. */
  resend(post: SsePost): boolean;
  /** Buffered bytes of unfinished answers of this server. */
  readonly buffered: CappedCount;
  /** Called with a message in the response. */
  message(envelope: Envelope): void;
  /** Called when it no longer needs its slot; possibly twice. */
  released(post: SsePost): void;
}

/** Bytes that are read of an unneeded body, so that its connection can be reused. */
const DRAIN_BYTES = 64 * 1024;
const LINGER_MS = 1000;

export class SsePost extends OutgoingPost implements ResponseHandler {
  readonly #host: SsePostHost;
  /** Set at `dispatch`: aborts a request that still waits for a connection. */
  #dispatched: ResponseController | undefined;
  /** Set when the request was about to be written. */
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
  /** Set for an accepted request: the reply may be in the response. */
  #answer: PacedAnswer | undefined;
  #heldBytes = 0;
  /** The response is the answer of the call, as with Streamable HTTP. */
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

  /** Cancels it at once, with the connection that carries it. Returns false when the server cannot have received it. */
  abort(): boolean {
    const mayHaveLeft = this.#controller !== undefined || this.again;
    if (this.#aborted) return mayHaveLeft;
    this.#aborted = true;
    this.#settled = true;
    if (this.held) this.#release();
    else this.#cut();
    return mayHaveLeft;
  }

  /** The reply came on the stream: frees the call's slot, even if the POST has no response yet. */
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
      // The status is sufficient if the body does not come.
      if (kind === 'auth') this.#refusal = runtime.timers.after(LINGER_MS, () => this.#finishRefusal());
    } else {
      if (this.id !== undefined) {
        events.alive(this.id);
        this.#begin(this.id, headers);
      }
      this.#settle();
    }
  }

  /**
   * A response 200 with a message type contains the reply and may take its time; other responses are searched while
   * they are read.
   */
  #begin(id: number, headers: ResponseHeaders): void {
    const kind = answerKind(this.#status, headers, true);
    if (kind !== 'json' && kind !== 'sse' && kind !== 'foreign') return;
    const host = { server: this.#host.server, limits: this.#host.limits, mislabelled: () => {} };
    this.#answer = new PacedAnswer({
      runtime: this.#host.runtime,
      host,
      id,
      declared: kind,
      status: this.#status,
      headers,
      message: (message) => this.#hand(message),
      alive: () => this.#isWhole && this.#host.events.alive(id),
      read: () => this.#readOn(),
      over: (fault) => this.#over(fault),
    });
    this.#isWhole = this.#status === 200 && kind !== 'foreign';
  }

  /** Content that is no reply says nothing about the call: its reply may come on the stream. */
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

  /** Drops the rest. */
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
      // The server may have closed a kept-alive connection while it was written to (see `streamable-http/exchange.ts`).
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

  /** Reads the rest only to keep the connection, for at most a second. */
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
