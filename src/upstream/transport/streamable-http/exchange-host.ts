/**
 * The interfaces between the transport and its exchanges.
 */
import type { Limits } from '../../../config/limits.ts';
import type { HubError } from '../../../model/errors.ts';
import type { RetryBudget } from '../../../resilience/retry-budget.ts';
import type { CappedCount } from '../../../runtime/capped.ts';
import type { Runtime } from '../../../runtime/runtime.ts';
import type { TransportEvents } from '../transport.ts';
import type { StreamPlace } from './resume.ts';

/** An exchange, as the transport uses it. */
export interface SentExchange {
  /** Request id; undefined for a notification or a reply. */
  readonly id: number | undefined;
  readonly frame: Buffer;
  /** Session in which it was sent. */
  readonly session: string | undefined;
  /** True when it was sent twice already, or must not be. */
  readonly again: boolean;
  /** The position from which it fetches the rest of an answer; undefined when it sends the frame. */
  readonly place: StreamPlace | undefined;
  /** Position in the transport's slots; −1 when there is none. */
  slot: number;
}

/** The transport, as its exchanges use it. */
export interface ExchangeHost {
  readonly runtime: Runtime;
  readonly limits: Limits;
  /** Name of the server, for people. */
  readonly server: string;
  readonly events: TransportEvents;
  /** The reason of aborted requests; created once. */
  readonly abortReason: Error;
  /** Buffered bytes of unfinished answers of this server. */
  readonly buffered: CappedCount;
  /** Returns method and address of a request, for the operator. */
  asked(method: string): string;
  /** Reports an answer that does not have the media type it declares. */
  mislabelled(type: string, kind: string): void;
  /** Called when the answer to a request without a session has given one. */
  sessionGiven(id: string): void;
  /** Called when the server may not know the exchange's session. `fault`: how it ends in that case. */
  sessionMissing(exchange: SentExchange, fault: HubError): void;
  /** Fetches the rest of an answer whose stream has ended; returns false when it cannot. */
  goOn(exchange: SentExchange, place: StreamPlace): boolean;
  /** Budget for requests that are sent again after a broken connection; one that was certainly not read is free. */
  readonly retries: RetryBudget;
  /** Sends the same frame again in place of this exchange; returns false when it cannot. */
  resend(exchange: SentExchange): boolean;
  /** Called when the answer to a request of `sinceMs` has begun. */
  answered(sinceMs: number): void;
  /**
   * Called when its answer has ended without the reply. Returns for how many ms the reply may still come on the GET
   * stream; undefined if it may not.
   */
  mayReplyLater(): number | undefined;
  /** Called when the exchange has ended on the wire; its slot is free. */
  released(exchange: SentExchange): void;
}

export interface ExchangeOrigin {
  /** Session in which it is sent. */
  readonly session: string | undefined;
  /** True when it must not be sent again. */
  readonly again: boolean;
  /** Called at its end on the wire instead of `released`. */
  readonly gone: (() => void) | undefined;
  readonly place?: StreamPlace;
}
