/** What a connection is made from. */
import type { Limits } from '../../config/limits.ts';
import type { LinkPhase } from '../../model/events.ts';
import type { ServerSpec } from '../../model/snapshot.ts';
import type { InitializeResult } from '../../protocol/era-2025/initialize.ts';
import type { Runtime } from '../../runtime/runtime.ts';
import type { ClientContext } from '../client-context.ts';
import type { ToolHeaders } from '../era-2026/tool-headers.ts';
import type { SessionSharing } from '../link/held-elsewhere.ts';
import type { OpeningMemory } from '../link/opening-memory.ts';
import type { Transport, TransportEvents } from '../transport/transport.ts';

export interface ConnectionParts {
  readonly runtime: Runtime;
  readonly limits: Limits;
  readonly spec: ServerSpec;
  readonly version: string;
  readonly makeTransport: (spec: ServerSpec, events: TransportEvents) => Transport;
  readonly phase: (phase: LinkPhase) => Promise<void> | undefined;
  readonly raise: (silenceMs: number) => void;
  readonly listChanged: () => void;
  /** Who is on the client side. */
  readonly clientContext: ClientContext;
  /** It is another hub that speaks for the server. */
  readonly isForward: boolean;
  /** Other workers that may hold the server's session; undefined = nobody is asked. */
  readonly sharing?: SessionSharing | undefined;
  /** Socket of the worker that the connection goes through, because that one holds the server's only session. */
  readonly peer?: string | undefined;
  /** What the server's tools want repeated in headers. */
  readonly toolHeaders: ToolHeaders;
  /** What was spoken with the server in an earlier life; undefined = nothing yet. */
  readonly versionBefore: () => string | undefined;
  /** How the server has to be initialized. */
  readonly opening: OpeningMemory;
  /** A cancel is about to be sent; false = the server does not stand it. */
  readonly mayCancel: () => boolean;
  /** The server had forgotten us and has been initialized again. */
  readonly renewed: (hello: InitializeResult) => void;
}
