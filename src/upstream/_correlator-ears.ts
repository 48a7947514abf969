/** What a correlator reports to its connection. */
import type { Envelope } from '../protocol/message.ts';
import type { Flight } from './flight.ts';

export interface CorrelatorEars {
  /** Nobody has shown life in this call for a while. */
  silent(flight: Flight): void;
  tooSilent(flight: Flight, silentMs: number): void;
  ended(flight: Flight): void;
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
