/**
 * The initialize request of a shared connection. If the exchange gives up after it was sent, this waits for the answer,
 * whose session would otherwise remain at the server, and block one that allows a single session.
 * Guarantees: the exchange ends when it gives up; the wait ends with the headers of the answer, the pool, or `end`.
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
  /** The exchange has given up, and the answer has not come. */
  isLate = false;

  /** `mayWait` is called once, when the exchange gives up; if it returns false the request ends then. */
  constructor(exchange: ResponseHandler, mayWait: () => boolean) {
    this.#exchange = exchange;
    this.#mayWait = mayWait;
  }

  /** Settles with the session from a late answer; undefined when there is none. Never rejects. */
  get session(): Promise<string | undefined> {
    return this.#late.promise;
  }

  get aborted(): boolean {
    return this.isLate || this.#controller?.aborted === true;
  }

  get paused(): boolean {
    return this.#controller?.paused === true;
  }

  /** Returns the controller with which the exchange aborts it. */
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
    controller.abort(new Error('The response is no longer needed.'));
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
