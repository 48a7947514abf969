/**
 * The end of one connection: its reason, and what ends with it.
 * Guarantees: only the first reason counts; all pending requests and the opening end with it at once.
 */
import type { HubError } from '../../model/errors.ts';
import type { Refusal } from '../../model/outcome.ts';
import type { Deadline } from '../../runtime/deadline.ts';
import { goneRefusal } from '../call-endings.ts';
import { type Correlator, isCall } from './correlator.ts';
import type { RequestOptions } from './pending-request.ts';

export class ConnectionLoss {
  readonly #server: string;
  readonly #correlator: Correlator;
  readonly #lost = Promise.withResolvers<HubError>();
  #fault: HubError | undefined;
  #lastCall: RequestOptions | undefined;
  #opening: Deadline | undefined;

  constructor(server: string, correlator: Correlator) {
    this.#server = server;
    this.#correlator = correlator;
  }

  /** Why it was lost; undefined while it is not. */
  get fault(): HubError | undefined {
    return this.#fault;
  }

  /** The newest of the calls that were running when it was lost. */
  get lastCall(): RequestOptions | undefined {
    return this.#lastCall;
  }

  /** Settles with the reason when it is lost. */
  get lost(): Promise<HubError> {
    return this.#lost.promise;
  }

  /** Returns the refusal of a call that was not sent; undefined while the connection is not lost. */
  get notSent(): Refusal | undefined {
    return this.#fault && goneRefusal(this.#server, this.#fault, 'not-executed');
  }

  /** Throws the reason if it is lost. */
  check(): void {
    if (this.#fault) throw this.#fault;
  }

  /** Sets the deadline of the opening, which ends with the connection; undefined when it is open. */
  opensUntil(deadline: Deadline | undefined): void {
    this.#opening = deadline;
  }

  lose(fault: HubError): void {
    if (this.#fault) return;
    this.#fault = fault;
    this.#lastCall = this.#correlator.newest(isCall)?.plan;
    // First: from here on no request is cancelled at a server that is gone.
    this.#correlator.failAll(() => goneRefusal(this.#server, fault, 'unknown'));
    this.#opening?.end('stopped');
    this.#lost.resolve(fault);
  }
}
