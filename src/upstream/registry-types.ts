/** What a fleet is made from, and what it offers (`registry.ts`). */
import type { Limits } from '../config/limits.ts';
import type { Outcome } from '../model/outcome.ts';
import type { LearnedOpening } from '../model/raw-listing.ts';
import type { RawListing, ServerSpec } from '../model/snapshot.ts';
import type { Deadline } from '../runtime/deadline.ts';
import type { Runtime } from '../runtime/runtime.ts';
import type { Service } from '../runtime/service.ts';
import type { ResolvedTimes, UpstreamCall, UpstreamReply } from './call.ts';
import type { Everybody } from './client-context.ts';
import type { SessionHolders, SessionOf } from './single-session/session-holders.ts';
import type { ServerStatus } from './status.ts';
import type { Transport, TransportEvents } from './transport/transport.ts';
import type { WorkerHandover } from './worker-handover.ts';

export interface ServerRegistryParts {
  readonly runtime: Runtime;
  readonly limits: Limits;
  readonly version: string;
  /** This hub's slot; a local server whose home is another hub is reached through that hub. */
  readonly slot: number;
  /** Private socket of a sibling hub. */
  readonly peerSocket: (slot: number) => string;
  /** Where servers' processes, and sessions that servers allow once, are while this worker is replaced, or replaces another. */
  readonly handover?: Pick<WorkerHandover, 'runsAt' | 'released' | 'isGiven' | 'predecessor'> | undefined;
  /** Who is on the client side of all shared links. */
  readonly everybody: Everybody;
  /** The protocol version that a hub spoke with a server when it last read its lists; undefined = not known. */
  readonly spokenBefore: (slug: string) => string | undefined;
  /** How a hub has learned to initialize a server; undefined or absent = as usual. */
  readonly openingBefore?: (slug: string) => LearnedOpening | undefined;
  /** Other workers that may hold the only session of a server; absent = there are none. */
  readonly holders?: Pick<SessionHolders, 'find' | 'isHeldAt'> | undefined;
  /** Makes the transport of a server that lives here or is remote. `isShared` = its connection is not one client session's. */
  readonly makeTransport: (spec: ServerSpec, events: TransportEvents, isShared: boolean) => Transport;
}

export interface ServerRegistry extends Service {
  /** The servers there should be from now on. */
  apply(servers: readonly ServerSpec[]): void;
  /** A call with a `lane` goes through that session's own connection, when the server is one that asks its users. */
  call(slug: string, call: UpstreamCall): Outcome<UpstreamReply> | Promise<Outcome<UpstreamReply>>;
  /** A session's or everybody's log level has changed. */
  logLevelChanged(slug: string, connectionId: string | undefined): void;
  /** A session's call has (un)subscribed the shared link of a server to a resource. */
  subscribed(slug: string, uri: string, isWanted: boolean): void;
  /** Sessions have subscribed to these resources of a server: its shared link subscribes to those that are new to it, now. */
  subscriptionsAdded(slug: string, uris: readonly string[]): void;
  /** What sessions want of a server has changed elsewhere: its shared link is told what it does not know yet. */
  wishesChanged(slug: string): void;
  /** The client of a session has other roots: servers that have asked for them ask again. */
  rootsChanged(id: string): void;
  /** A session has ended: its lanes close. */
  sessionEnded(id: string): void;
  /** Undefined = ready; else why not. Waits a little for a server that is coming up. */
  whenReady(slug: string, deadline: Deadline, owner: string): Outcome<undefined> | Promise<Outcome<undefined>>;
  statuses(): readonly ServerStatus[];
  status(slug: string): ServerStatus | undefined;
  /** Reads the lists of all servers that are ready again, soon. */
  relist(): void;
  /** Servers whose process, or only session, another worker of this place has. */
  heldElsewhere(): readonly string[];
  /** Calls inside and queued, of the servers whose process this worker runs, or whose only session it holds for others too. */
  runningHere(): Readonly<Record<string, number>>;
  /** Whether a call has been inside a server since before `sinceMs` (monotonic ms). */
  hasCallsFrom(slug: string, sinceMs: number): boolean;
  /** A server's process or session is, from now on, where `handover` says. Settles when what this worker had of it has ended. Never rejects. */
  move(slug: string): Promise<void>;
  /** This worker holds a session with the server, which has these settings, or is taking it over from the worker that it replaces. Another worker asks. */
  holdsSession(server: SessionOf): boolean;
  /** Connects again, now. */
  restart(slug: string): Outcome<undefined>;
  stderrTail(slug: string): readonly string[];
  onListed(listener: (raw: RawListing) => void): void;
  rawListing(slug: string): RawListing | undefined;
  /** Times of a call to this tool: the tool's, else the server's, else the hub's. Undefined = not a tool. */
  timesOf(slug: string, native: string | undefined): ResolvedTimes;
}
