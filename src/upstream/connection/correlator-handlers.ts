/** What a correlator reports to its connection. */
import type { Envelope } from '../../protocol/message.ts';
import type { PendingRequest } from './pending-request.ts';

export interface CorrelatorHandlers {
  /** Nobody has shown life in this call for a while. */
  silent(pending: PendingRequest): void;
  tooSilent(pending: PendingRequest, silentMs: number): void;
  ended(pending: PendingRequest): void;
  /** A cancel is about to be sent; false = the server does not stand it. */
  mayCancel(): boolean;
  listChanged(method: string): void;
  /** What the server says beside its answers and their progress. */
  notice(envelope: Envelope, exchange: number | undefined): void;
  /** A question of the server; false = nobody can be asked. */
  question(envelope: Envelope, exchange: number | undefined): boolean;
  /** The server has taken a question back. */
  takenBack(envelope: Envelope): void;
}
