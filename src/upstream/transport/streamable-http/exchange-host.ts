/**
 * What the transport and its exchanges know of each other.
 */
import type { Limits } from '../../../config/limits.ts';
import type { HubError } from '../../../model/errors.ts';
import type { RetryBudget } from '../../../resilience/retry-budget.ts';
import type { CappedCount } from '../../../runtime/capped.ts';
import type { Runtime } from '../../../runtime/runtime.ts';
import type { TransportEvents } from '../transport.ts';
import type { StreamPlace } from './resume.ts';

/** An exchange, as the transport sees it. */
export interface SentExchange {
  /** Request id; undefined for a notification or a reply of ours. */
  readonly id: number | undefined;
  readonly frame: Buffer;
  /** Session it was sent in. */
  readonly session: string | undefined;
  /** Sent a second time already, or not to be. */
  readonly again: boolean;
  /** It fetches the rest of an answer from here on; undefined = it sends the frame. */
  readonly place: StreamPlace | undefined;
  /** Place in the transport's slots; −1 = none. */
  slot: number;
}

/** The transport, as its exchanges see it. */
export interface ExchangeHost {
  readonly runtime: Runtime;
  readonly limits: Limits;
  /** Name of the server, for people. */
  readonly server: string;
  readonly events: TransportEvents;
  /** What aborted requests are told; made once. */
  readonly abortReason: Error;
  /** Bytes of unfinished answers of this server. */
  readonly buffered: CappedCount;
  /** Method and address of a request, for the operator. */
  asked(method: string): string;
  /** An answer is not of the media type that it names. */
  mislabelled(type: string, kind: string): void;
  /** The answer to a request without a session gave one. */
  sessionGiven(id: string): void;
  /** The server may not know the session that this exchange was sent in. `fault` = what it ends with if it does. */
  sessionMissing(exchange: SentExchange, fault: HubError): void;
  /** Fetches the rest of an answer whose stream has ended. False = it cannot. */
  goOn(exchange: SentExchange, place: StreamPlace): boolean;
  /** For what is sent once more because a connection broke; what was surely not read costs nothing. */
  readonly retries: RetryBudget;
  /** Sends the same frame once more in place of this exchange. False = it cannot. */
  resend(exchange: SentExchange): boolean;
  /** The answer to a request of `sinceMs` has begun. */
  answered(sinceMs: number): void;
  /** Its answer has ended without the reply, which may come on the GET stream: for so many ms. Undefined = it may not. */
  mayReplyLater(): number | undefined;
  /** The exchange is over at the wire; its slot is free. */
  released(exchange: SentExchange): void;
}

export interface ExchangeOrigin {
  /** Session it is sent in. */
  readonly session: string | undefined;
  /** True = not to be sent once more. */
  readonly again: boolean;
  /** Hears of its end at the wire instead of the transport's slots. */
  readonly gone: (() => void) | undefined;
  readonly place?: StreamPlace;
}
