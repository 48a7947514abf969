/** The dependencies of a transport of either era. */

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
  /** Capabilities of the client side, in the form of either era. */
  readonly capabilities: object;
  readonly logLevel: () => string | undefined;
  readonly declared: DeclaredHeaders;
  readonly repeats: HeaderRetries;
  /** Called when subscriptions or preferences may have changed. */
  readonly preferencesChanged: () => void;
  /** Returns an id that no request of the connection has. */
  readonly nextId: () => number;
  /** A request can be closed on the wire. */
  readonly closes: boolean;
}

/** The dependencies of the transport of one connection. */
export interface EraOptions {
  readonly runtime: Runtime;
  readonly spec: ServerSpec;
  readonly version: string;
  readonly clientContext: Pick<ClientContext, 'capabilityBits' | 'logLevel'>;
  readonly makeTransport: (spec: ServerSpec, events: TransportEvents) => Transport;
  readonly toolHeaders: ToolHeaders;
  readonly preferencesChanged: () => void;
  readonly nextId: () => number;
}
