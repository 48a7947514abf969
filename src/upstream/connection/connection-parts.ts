/** The dependencies of a connection. */
import type { Limits } from '../../config/limits.ts';
import type { ServerSpec } from '../../model/snapshot.ts';
import type { InitializeResult } from '../../protocol/era-2025/initialize.ts';
import type { Runtime } from '../../runtime/runtime.ts';
import type { ClientContext } from '../client-context.ts';
import type { ToolHeaders } from '../era-2026/tool-headers.ts';
import type { SessionSharing } from '../link/held-elsewhere.ts';
import type { OpeningMemory } from '../link/opening-memory.ts';
import type { Transport, TransportEvents } from '../transport/transport.ts';
import type { ClientSide } from './client-side.ts';

/** What a connection asks of its link, and reports to it. */
export interface ConnectionReports {
  /** Called when the silence limit was too short for the server. */
  raise(silenceMs: number): void;
  listChanged(): void;
  /** Returns the protocol version of an earlier connection; undefined when there is none. */
  versionBefore(): string | undefined;
  /** Called before a cancel is sent; returns false when the server does not tolerate it. */
  mayCancel(): boolean;
  /** Called when the session was lost and has been initialized again; `clientSide`: that of the connection. */
  renewed(clientSide: ClientSide, hello: InitializeResult): void;
}

export interface ConnectionParts {
  readonly runtime: Runtime;
  readonly limits: Limits;
  readonly spec: ServerSpec;
  readonly version: string;
  readonly makeTransport: (spec: ServerSpec, events: TransportEvents) => Transport;
  readonly owner: ConnectionReports;
  /** The client or clients behind it. */
  readonly clientContext: ClientContext;
  /** Another worker runs the server. */
  readonly isForward: boolean;
  /** Finds other workers that may hold the server's session; undefined when the server allows several. */
  readonly sharing?: SessionSharing | undefined;
  /**
   * Socket of the worker to connect through, because it holds the server's only session; undefined for a direct
   * connection.
   */
  readonly peer?: string | undefined;
  /** Headers that the server's tools require. */
  readonly toolHeaders: ToolHeaders;
  /** How the server has to be initialized. */
  readonly opening: OpeningMemory;
}
