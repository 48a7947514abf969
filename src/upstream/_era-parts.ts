/** What a transport of either era is made of. */
import type { Kernel } from '../kernel/kernel.ts';
import type { ServerSpec } from '../kernel/snapshot.ts';
import type { Repeats } from './_repeats.ts';
import type { ToolHeaders } from './_tool-headers.ts';
import type { Talk } from './talk.ts';
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

/** What the transport of one connection is made of. */
export interface EraOptions {
  readonly kernel: Kernel;
  readonly spec: ServerSpec;
  readonly version: string;
  readonly talk: Pick<Talk, 'capabilityBits' | 'logLevel'>;
  readonly makeTransport: (spec: ServerSpec, events: TransportEvents) => Transport;
  readonly toolHeaders: ToolHeaders;
  readonly wishesChanged: () => void;
  readonly nextId: () => number;
}
