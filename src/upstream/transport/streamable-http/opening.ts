/**
 * The request to initialize that a shared connection sends, between its exchange and the pool. When the exchange gives it up after it was sent, the answer is
 * waited for all the same: its session would stay open at the server, and one that allows a single session would let nobody in.
 * Guarantees: an exchange that has given up hears its end at once; the wait is ended by the answer's headers, by the pool's end or by `end`.
 */
import type { ResponseController, ResponseHandler, ResponseHeaders } from '../../../net/egress.ts';
import { sessionIdIn } from '../http/answer.ts';

export class Opening implements ResponseHandler, ResponseController {
  readonly #exchange: ResponseHandler;
  readonly #mayWait: () => boolean;
  readonly #late = Promise.withResolvers<string | undefined>();
  #controller: ResponseController | undefined;
  #isSent = false;
  #isAnswered = false;
  /** The exchange has given it up, and its answer has not come. */
  isLate = false;

  /** `mayWait` is asked once, when the exchange gives up; false = the request ends then. */
  constructor(exchange: ResponseHandler, mayWait: () => boolean) {
    this.#exchange = exchange;
    this.#mayWait = mayWait;
  }

  /** Settles with the session that a late answer gives; undefined = none. Never rejects. */
  get session(): Promise<string | undefined> {
    return this.#late.promise;
  }

  get aborted(): boolean {
    return this.isLate || this.#controller?.aborted === true;
  }

  get paused(): boolean {
    return this.#controller?.paused === true;
  }

  /** Returns what the exchange aborts it by. */
  dispatched(controller: ResponseController): ResponseController {
    this.#controller = controller;
    return this;
  }

  abort(reason: Error): void {
    if (this.isLate) return;
    if (!this.#isSent || this.#isAnswered || !this.#mayWait()) return this.#controller?.abort(reason);
    this.isLate = true;
    this.#exchange.onResponseError(this, reason);
  }

  /** Ends the wait. */
  end(reason: Error): void {
    this.#controller?.abort(reason);
  }

  pause(): void {
    this.#controller?.pause();
  }

  resume(): void {
    this.#controller?.resume();
  }

  onRequestStart(controller: ResponseController): void {
    this.#controller = controller;
    this.#isSent = true;
    this.#exchange.onRequestStart(this);
  }

  onResponseStart(controller: ResponseController, status: number, headers: ResponseHeaders): void {
    this.#isAnswered = true;
    if (!this.isLate) return this.#exchange.onResponseStart(this, status, headers);
    this.#late.resolve(status < 300 ? readable(headers) : undefined);
    controller.abort(new Error('Nobody waits for the answer any more.'));
  }

  onResponseData(_controller: ResponseController, chunk: Buffer): void {
    if (!this.isLate) this.#exchange.onResponseData(this, chunk);
  }

  onResponseEnd(): void {
    if (!this.isLate) return this.#exchange.onResponseEnd(this);
    this.#late.resolve(undefined);
  }

  onResponseError(_controller: ResponseController, fault: Error): void {
    if (!this.isLate) return this.#exchange.onResponseError(this, fault);
    this.#late.resolve(undefined);
  }
}

function readable(headers: ResponseHeaders): string | undefined {
  try {
    return sessionIdIn(headers);
  } catch {
    return undefined;
  }
}
