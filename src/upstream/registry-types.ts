/** The dependencies and the interface of the registry (`registry.ts`). */
import type { Limits } from '../config/limits.ts';
import type { Outcome } from '../model/outcome.ts';
import type { LearnedOpening } from '../model/raw-listing.ts';
import type { RawListing, ServerSpec } from '../model/snapshot.ts';
import type { CallBudget } from '../runtime/call-budget.ts';
import type { Deadline } from '../runtime/deadline.ts';
import type { Runtime } from '../runtime/runtime.ts';
import type { Service } from '../runtime/service.ts';
import type { UpstreamCall, UpstreamReply } from './call.ts';
import type { Everybody } from './client-context.ts';
import type { SessionHolders, SessionOf } from './single-session/session-holders.ts';
import type { ServerStatus } from './status.ts';
import type { Transport, TransportEvents } from './transport/transport.ts';
import type { WorkerHandover } from './worker-handover.ts';

export interface ServerRegistryParts {
  readonly runtime: Runtime;
  readonly limits: Limits;
  readonly version: string;
  /** Id of this worker; a local server that belongs to another worker is reached through that one. */
  readonly slot: number;
  /** Returns the private socket of another worker. */
  readonly peerSocket: (slot: number) => string;
  /**
   * Knows which worker has a server's process, or its only session, while this worker is replaced or replaces another.
   */
  readonly handover?: Pick<WorkerHandover, 'runsAt' | 'released' | 'isGiven' | 'predecessor'> | undefined;
  /** The client side of all shared links. */
  readonly everybody: Everybody;
  /** Returns the protocol version of a server when its lists were last read by a worker; undefined when not known. */
  readonly spokenBefore: (slug: string) => string | undefined;
  /** Returns how a server has to be initialized; undefined or absent for the usual way. */
  readonly openingBefore?: (slug: string) => LearnedOpening | undefined;
  /** Other workers that may hold the only session of a server; absent when there are none. */
  readonly holders?: Pick<SessionHolders, 'find' | 'isHeldAt'> | undefined;
  /**
   * Creates the transport of a server that runs in this worker or is remote. `isShared`: its connection does not belong
   * to one client session.
   */
  readonly makeTransport: (spec: ServerSpec, events: TransportEvents, isShared: boolean) => Transport;
}

export interface ServerRegistry extends Service {
  /** Starts, replaces and stops servers so that these are the ones that run. */
  apply(servers: readonly ServerSpec[]): void;
  /** Sends a call. If the server asks its users, a call with a session uses the session's own connection. */
  call(slug: string, call: UpstreamCall): Outcome<UpstreamReply> | Promise<Outcome<UpstreamReply>>;
  /** Call this when the log level of a session, or of all, has changed. */
  logLevelChanged(slug: string, connectionId: string | undefined): void;
  /** Records that a session's call has subscribed the shared link of a server to a resource, or unsubscribed it. */
  subscribed(slug: string, uri: string, isWanted: boolean): void;
  /** Subscribes the shared link of a server now to those of these resources that are new to it. */
  subscriptionsAdded(slug: string, uris: readonly string[]): void;
  /** Sends the shared link's changes in log level and subscriptions, after those of sessions have changed. */
  preferencesChanged(slug: string): void;
  /** The client of a session has other roots: notifies servers that have requested them. */
  rootsChanged(id: string): void;
  /** Closes the connections of a session that has ended. */
  sessionEnded(id: string): void;
  /** Returns undefined when the server is ready, else the reason; waits briefly for a server that is connecting. */
  whenReady(slug: string, deadline: Deadline, owner: string): Outcome<undefined> | Promise<Outcome<undefined>>;
  statuses(): readonly ServerStatus[];
  status(slug: string): ServerStatus | undefined;
  /** Schedules a reading of the lists of all ready servers. */
  relist(): void;
  /** Returns the servers whose process, or only session, belongs to another worker with the same id. */
  heldElsewhere(): readonly string[];
  /**
   * Returns running and queued calls of the servers whose process runs in this worker, or whose only session it holds
   * for others.
   */
  runningHere(): Readonly<Record<string, number>>;
  /** Tells whether a call that began before `sinceMs` (monotonic ms) is still running at a server. */
  hasCallsFrom(slug: string, sinceMs: number): boolean;
  /**
   * Moves a server's process or session to where `handover` says. Settles when this worker has ended its own. Never
   * rejects.
   */
  move(slug: string): Promise<void>;
  /**
   * Tells another worker whether this one holds a session with the server under these settings, or is taking one over.
   */
  holdsSession(server: SessionOf): boolean;
  /** Reconnects now. */
  restart(slug: string): Outcome<undefined>;
  stderrTail(slug: string): readonly string[];
  onListed(listener: (raw: RawListing) => void): void;
  rawListing(slug: string): RawListing | undefined;
  /**
   * Starts the time of a call, with the limits of the tool, else of the server, else of the hub. `tool`: its native
   * name; undefined for other methods. Dispose of the budget when the call is over.
   */
  startBudget(slug: string, tool: string | undefined): CallBudget;
}
