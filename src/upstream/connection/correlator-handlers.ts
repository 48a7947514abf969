/** The callbacks of a correlator to its connection. */
import type { Envelope } from '../../protocol/message.ts';
import type { PendingRequest } from './pending-request.ts';

export interface CorrelatorHandlers {
  /** There was no sign of life for this call for a while. */
  silent(pending: PendingRequest): void;
  tooSilent(pending: PendingRequest, silentMs: number): void;
  ended(pending: PendingRequest): void;
  /** Called before a cancel is sent; returns false when the server does not tolerate it. */
  mayCancel(): boolean;
  listChanged(method: string): void;
  /** A notification of the server other than progress. */
  notice(envelope: Envelope, exchange: number | undefined): void;
  /** A request of the server; returns false when no user can be asked. */
  question(envelope: Envelope, exchange: number | undefined): boolean;
  /** The server has cancelled a request. */
  takenBack(envelope: Envelope): void;
}
