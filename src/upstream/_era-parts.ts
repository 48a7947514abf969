/** What a transport of either era is made of. */
import type { Repeats } from './_repeats.ts';
import type { DeclaredHeaders, Transport, TransportEvents } from './transport.ts';

export interface EraParts {
  readonly server: string;
  readonly make: (events: TransportEvents) => Transport;
  readonly events: TransportEvents;
  /** Version of the hub. */
  readonly version: string;
  /** What the client side declares, in the words of either era. */
  readonly capabilities: object;
  readonly logLevel: () => string | undefined;
  readonly declared: DeclaredHeaders;
  readonly repeats: Repeats;
  /** What the client side wants to hear may be another thing now. */
  readonly wishesChanged: () => void;
  /** Returns an id that no request of the connection has. */
  readonly nextId: () => number;
  /** A request can be closed at the wire. */
  readonly closes: boolean;
}
