/**
 * Types of the admin API's responses, shared by the server, the CLI and the dashboard. Contains no code.
 * Guarantees: fields are only added; times are wall clock ms (`…AtMs`) or lengths (`…Ms`); only `KeyMade` contains a
 * whole key, and only in the response that created it.
 */

import type { ReportedStatus } from '../relay/relay-messages.ts';
import type { RequestTotals } from '../runtime/request-counts.ts';
import type { RestartNeeded } from './restart-needed.ts';

/** Body of every response with status 400 or higher, from the control process and from workers. */
export interface ErrorAnswer {
  readonly error: {
    /** Code of the errors table. */
    readonly code: string;
    readonly message: string;
    /** Whether the same request may succeed later. */
    readonly retryable: boolean;
    readonly [detail: string]: unknown;
  };
}

/** GET /livez and GET /probe. */
export interface LiveAnswer {
  readonly status: 'ok';
  readonly role: 'control';
  readonly pid: number;
}

/** A worker process, as control sees it over the relay. */
export interface HubAnswer {
  readonly slot: number;
  readonly connected: boolean;
  readonly pid: number | undefined;
  /** Revision of the snapshot that it had when it connected, or that was sent to it last. */
  readonly revision: number;
  /** Wall clock ms of the last change of `connected`. */
  readonly sinceAtMs: number;
  /** Events that this worker could not deliver. */
  readonly factsDropped: number;
  /**
   * Reported once a second; undefined before the first report. A request that one worker passes to another counts in
   * both.
   */
  readonly clientRequests: RequestTotals | undefined;
}

/** One server as one worker reports it; `sinceMs` and `retryMs` as of the response. */
export interface ServerOnHub extends Omit<ReportedStatus, 'server' | 'name' | 'transport'> {
  readonly hub: number;
}

/** One configured server. */
export interface ServerAnswer {
  readonly name: string;
  readonly slug: string;
  readonly transport: 'stdio' | 'http' | 'sse';
  readonly enabled: boolean;
  /** Slot of the worker that runs it; 0 when every worker has its own link. */
  readonly homeHub: number;
  /**
   * `ready` when any worker reports it so, otherwise the state that its owner worker reports; `starting`: no report
   * yet; `unknown`: no worker is connected.
   */
  readonly state: string;
  /** Why it is not ready, in one sentence. */
  readonly cause: string | undefined;
  /** The reference that clients get instead of the cause; the log has the same. */
  readonly reference?: string | undefined;
  /** Tools of the last valid listing. */
  readonly tools: number;
  readonly prompts: number;
  /** Includes templates. */
  readonly resources: number;
  /**
   * URIs that it lists but another server listed first (at most 20); its own are under `mcphub://<slug>/…`. Absent when
   * there are none.
   */
  readonly shadowed?: readonly string[] | undefined;
  /** Time of that listing; undefined when it was never listed. */
  readonly listedAtMs: number | undefined;
  readonly hubs: readonly ServerOnHub[];
}

/** GET /api/servers. */
export interface ServersAnswer {
  readonly servers: readonly ServerAnswer[];
}

/** GET /api/status. */
export interface StatusAnswer {
  readonly version: string;
  readonly process: {
    readonly role: 'control';
    readonly pid: number;
    readonly uptimeMs: number;
    readonly startedAtMs: number;
    readonly rssBytes: number;
    readonly heapBytes: number;
  };
  /** Revision of the published snapshot. */
  readonly revision: number;
  readonly publishedAtMs: number | undefined;
  readonly port: number;
  readonly config: {
    readonly file: string;
    readonly appliedAtMs: number;
    /** The last refused attempt, when it is newer than the applied one. */
    readonly refused: { readonly atMs: number; readonly errors: readonly string[] } | undefined;
    readonly restartNeeded: RestartNeeded;
  };
  readonly store: { readonly state: 'ok' | 'failing'; readonly cause: string | undefined };
  /** Revision of the published keys. */
  readonly keysRevision: number;
  /**
   * Servers whose lists do not fit in snapshotBytes: calls work, but a worker that starts has to read these lists from
   * the server.
   */
  readonly catalogsTooLarge: readonly { readonly server: string; readonly bytes: number }[];
  /** Connected worker processes, with the revision of the keys that they have applied. */
  readonly workerKeys: readonly { readonly hub: number; readonly pid: number; readonly keysRevision: number }[];
  readonly hubs: readonly HubAnswer[];
  readonly servers: readonly ServerAnswer[];
  /**
   * HTTP requests of clients and their responses by class: the sum over the connected workers, each since its start.
   */
  readonly clientRequests: RequestTotals;
  /** API requests since this process started, by socket; `refused` counts unauthorized ones. */
  readonly requests: { readonly operator: number; readonly workers: number; readonly refused: number };
  readonly keys: number;
  readonly groups: number;
  readonly tools: number;
  readonly prompts: number;
  /** Includes templates. */
  readonly resources: number;
}

/** POST /api/servers/:name/restart. */
export interface RestartAnswer {
  readonly server: string;
  /** Slots of the workers that accepted it. */
  readonly restarting: readonly number[];
  /** Workers that did not respond or refused, with the reason. */
  readonly failed: readonly HubFailure[];
}

export interface HubFailure {
  readonly hub: number;
  readonly message: string;
}

/** GET /api/servers/:name/logs. */
export interface LogsAnswer {
  readonly server: string;
  readonly hubs: readonly { readonly hub: number; readonly lines: readonly string[] }[];
  readonly failed: readonly HubFailure[];
}

export interface WaitAnswer {
  readonly label: string;
  readonly owner: string;
  readonly ageMs: number;
  readonly remainingMs: number;
}

/** GET /api/waits: per process. `process` is `control` or `hub-<slot>`. */
export interface WaitsAnswer {
  readonly processes: readonly { readonly process: string; readonly waits: readonly WaitAnswer[] }[];
  /** Processes that did not respond within askMs. */
  readonly silent: readonly HubFailure[];
}

export interface CeilingAnswer {
  readonly name: string;
  readonly size: number;
  readonly max: number;
  /** Most that one key may hold; absent when the container does not count keys. */
  readonly share?: number;
  readonly peak: number;
  readonly rule: string;
  readonly overflowed: number;
}

/** GET /api/ceilings: per process. */
export interface CeilingsAnswer {
  readonly processes: readonly {
    readonly process: string;
    readonly ceilings: readonly CeilingAnswer[];
    /** The values of docs/limits.md in force in this process; absent from workers of an older version. */
    readonly limits?: Readonly<Record<string, number>> | undefined;
  }[];
  readonly silent: readonly HubFailure[];
}

/** A key without its secret. */
export interface KeyAnswer {
  readonly id: string;
  readonly user: string;
  readonly name: string;
  readonly role: 'owner' | 'member';
  /** First 15 characters. */
  readonly prefix: string;
  /** Last 4 characters. */
  readonly last4: string;
  /** Names of the groups it may use; undefined for all. */
  readonly groups: readonly string[] | undefined;
  readonly createdAtMs: number;
  readonly expiresAtMs: number | undefined;
  readonly revokedAtMs: number | undefined;
  readonly lastUsedAtMs: number | undefined;
}

/** GET /api/keys: newest first, including revoked ones. */
export interface KeysAnswer {
  readonly keys: readonly KeyAnswer[];
}

/** POST /api/keys. */
export interface KeyRequest {
  /** User's name; the user is created when it does not exist. */
  readonly user: string;
  /** The client or machine that the key is for. */
  readonly name: string;
  /** Default `member`. */
  readonly role?: 'owner' | 'member';
  /** Names or slugs of groups; absent for all. */
  readonly groups?: readonly string[];
  /** Wall clock ms; absent when it does not expire. */
  readonly expiresAtMs?: number;
}

/** Whether the change is in force on every worker. */
export interface Confirmation {
  /** Revision of the keys that contains the change, or a later one. */
  readonly keysRevision: number;
  /** True when every worker has applied it: a new key is accepted, and nothing of a revoked one is open any more. */
  readonly confirmed: boolean;
  /**
   * Workers that have not confirmed within confirmKeysMs; they apply the change as soon as they run and are connected.
   */
  readonly unconfirmed: readonly HubFailure[];
}

/**
 * POST /api/keys (201) and POST /api/keys/:id/rotate (200). `:id` is an id, or a prefix that matches exactly one active
 * key.
 */
export interface KeyMade extends Confirmation {
  readonly key: KeyAnswer;
  /** The whole key; shown only here. */
  readonly secret: string;
}

/** DELETE /api/keys/:id. */
export interface KeyRevoked extends Confirmation {
  readonly key: KeyAnswer;
}

/** POST /api/config/reload. 422 with `error.errors` when the file is refused; the last valid one stays in force. */
export interface ReloadAnswer extends Confirmation {
  readonly applied: true;
  readonly file: string;
  readonly revision: number;
  readonly servers: number;
  readonly added: readonly string[];
  readonly removed: readonly string[];
  readonly changed: readonly string[];
}
