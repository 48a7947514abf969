/** What a transport of either era is made of. */

import type { ServerSpec } from '../../model/snapshot.ts';
import type { Runtime } from '../../runtime/runtime.ts';
import type { ClientContext } from '../client-context.ts';
import type { DeclaredHeaders, Transport, TransportEvents } from '../transport/transport.ts';
import type { HeaderRetries } from './header-retries.ts';
import type { ToolHeaders } from './tool-headers.ts';

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
  readonly repeats: HeaderRetries;
  /** What the client side wants to hear may be another thing now. */
  readonly wishesChanged: () => void;
  /** Returns an id that no request of the connection has. */
  readonly nextId: () => number;
  /** A request can be closed at the wire. */
  readonly closes: boolean;
}

/** What the transport of one connection is made of. */
export interface EraOptions {
  readonly runtime: Runtime;
  readonly spec: ServerSpec;
  readonly version: string;
  readonly clientContext: Pick<ClientContext, 'capabilityBits' | 'logLevel'>;
  readonly makeTransport: (spec: ServerSpec, events: TransportEvents) => Transport;
  readonly toolHeaders: ToolHeaders;
  readonly wishesChanged: () => void;
  readonly nextId: () => number;
}
