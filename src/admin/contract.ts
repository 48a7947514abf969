/**
 * What the admin API answers, as types: shared by the server side here, the CLI and the dashboard.
 * Promises: fields are only added; times are wall clock ms (`…AtMs`) or lengths (`…Ms`); no answer but `KeyMade` holds a whole key, and
 * that one only in the answer that made it.
 * Does not: hold code.
 */

import type { LastFailure, UnreadList } from '../relay/relay-messages.ts';
import type { RequestTotals } from '../runtime/request-counts.ts';

/** Body of every answer with a status of 400 or more, from the control process and from workers alike. */
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

/** A hub process, as control sees it over the relay. */
export interface HubAnswer {
  readonly slot: number;
  readonly connected: boolean;
  readonly pid: number | undefined;
  /** Revision of the snapshot it had when it said hello, or was last sent. */
  readonly revision: number;
  /** Wall clock ms of the last change of `connected`. */
  readonly sinceAtMs: number;
  /** Facts that this hub could not deliver. */
  readonly factsDropped: number;
  /** Reported once a second; undefined = not reported yet. A request that one worker passes to another counts in both. */
  readonly clientRequests: RequestTotals | undefined;
}

/** One server as one hub reports it. */
export interface ServerOnHub {
  readonly hub: number;
  readonly state: string;
  readonly phase: string | undefined;
  /** Why it is not ready, one sentence. */
  readonly cause: string | undefined;
  readonly code: string | undefined;
  /** What clients read instead of the cause; the same in the log. */
  readonly reference?: string | undefined;
  /** ms in this state, now. */
  readonly sinceMs: number;
  readonly retryMs: number | undefined;
  readonly tools: number;
  readonly inFlight: number;
  readonly queued: number;
  readonly calls: number;
  readonly failures: number;
  readonly restarts: number;
  /** How often in a row its child has died early; absent = it is in no crash loop. */
  readonly crashLoop?: number | undefined;
  readonly pid: number | undefined;
  readonly serverInfo: string | undefined;
  readonly protocolVersion: string | undefined;
  readonly silenceMs: number;
  /** Lists that were not read, or not to their end, while it is ready; absent = all were. */
  readonly unread?: readonly UnreadList[] | undefined;
  /** It declares no tools, prompts or resources. Absent = it does, or is not ready. */
  readonly declaresNothing?: true | undefined;
  /** No cancels are sent to it: they have ended its process. Absent = they are. */
  readonly withholdsCancels?: true | undefined;
  /** What the hub has found out about how this server wants to be spoken to. Absent = nothing. */
  readonly notes?: readonly string[] | undefined;
  /** The last call that failed at this server; absent = none has. */
  readonly lastFailure?: LastFailure | undefined;
}

/** One configured server. */
export interface ServerAnswer {
  readonly name: string;
  readonly slug: string;
  readonly transport: 'stdio' | 'http' | 'sse';
  readonly enabled: boolean;
  /** Slot of the hub that runs it; 0 = every hub has its own link. */
  readonly homeHub: number;
  /** `ready` when any worker reports it so, else the state its own worker reports; `starting`: no report yet; `unknown`: no worker is connected. */
  readonly state: string;
  /** Why it is not ready, one sentence. */
  readonly cause: string | undefined;
  /** What clients read instead of the cause; the same in the log. */
  readonly reference?: string | undefined;
  /** Tools of the last known good listing. */
  readonly tools: number;
  readonly prompts: number;
  /** Templates included. */
  readonly resources: number;
  /** Resource addresses that it lists and another server had first (20 at most); its own are under `mcphub://<slug>/…`. Absent = none. */
  readonly shadowed?: readonly string[] | undefined;
  /** When they were listed; undefined = never. */
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
  /** Revision of the snapshot now published. */
  readonly revision: number;
  readonly publishedAtMs: number | undefined;
  readonly port: number;
  readonly config: {
    readonly file: string;
    readonly appliedAtMs: number;
    /** The last attempt that was refused, while it is newer than what is applied. */
    readonly refused: { readonly atMs: number; readonly errors: readonly string[] } | undefined;
  };
  readonly store: { readonly state: 'ok' | 'failing'; readonly cause: string | undefined };
  /** Revision of the keys now published. */
  readonly keysRevision: number;
  /** Servers whose lists do not fit in snapshotBytes: calls work, but a worker that starts has to read these lists from the server. */
  readonly catalogsTooLarge: readonly { readonly server: string; readonly bytes: number }[];
  /** Worker processes that are connected, with the keys that they have applied. */
  readonly workerKeys: readonly { readonly hub: number; readonly pid: number; readonly keysRevision: number }[];
  readonly hubs: readonly HubAnswer[];
  readonly servers: readonly ServerAnswer[];
  /** HTTP requests of clients and their responses by class: the sum of the connected workers, each since its start. */
  readonly clientRequests: RequestTotals;
  /** API requests since this process started, by the socket they came on; `refused` = those without a right. */
  readonly requests: { readonly operator: number; readonly workers: number; readonly refused: number };
  readonly keys: number;
  readonly groups: number;
  readonly tools: number;
  readonly prompts: number;
  /** Templates included. */
  readonly resources: number;
}

/** POST /api/servers/:name/restart. */
export interface RestartAnswer {
  readonly server: string;
  /** Slots of the hubs that took it. */
  readonly restarting: readonly number[];
  /** Hubs that did not answer or refused, with the reason. */
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
  /** Processes that did not answer within askMs. */
  readonly silent: readonly HubFailure[];
}

export interface CeilingAnswer {
  readonly name: string;
  readonly size: number;
  readonly max: number;
  /** Most that one key may hold; absent = the container does not count keys. */
  readonly share?: number;
  readonly peak: number;
  readonly rule: string;
  readonly overflowed: number;
}

/** GET /api/ceilings: per process. */
export interface CeilingsAnswer {
  readonly processes: readonly { readonly process: string; readonly ceilings: readonly CeilingAnswer[] }[];
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
  /** Names of groups it may use; undefined = all. */
  readonly groups: readonly string[] | undefined;
  readonly createdAtMs: number;
  readonly expiresAtMs: number | undefined;
  readonly revokedAtMs: number | undefined;
  readonly lastUsedAtMs: number | undefined;
}

/** GET /api/keys: newest first, revoked ones too. */
export interface KeysAnswer {
  readonly keys: readonly KeyAnswer[];
}

/** POST /api/keys. */
export interface KeyWish {
  /** User's name; made when there is none of this name. */
  readonly user: string;
  /** Which client or machine it is for. */
  readonly name: string;
  /** Default `member`. */
  readonly role?: 'owner' | 'member';
  /** Names or slugs of groups; absent = all. */
  readonly groups?: readonly string[];
  /** Wall clock ms; absent = does not expire. */
  readonly expiresAtMs?: number;
}

/** Whether the change is in force on every worker. */
export interface Confirmation {
  /** Revision of the keys that hold the change, or a later one. */
  readonly keysRevision: number;
  /** Every worker has applied it: a new key is accepted, and of a revoked one nothing is open any more. */
  readonly confirmed: boolean;
  /** Workers that have not within confirmKeysMs; the change reaches them as soon as they run and are connected. */
  readonly unconfirmed: readonly HubFailure[];
}

/** POST /api/keys (201) and POST /api/keys/:id/rotate (200). `:id` is an id, or a prefix that fits one live key only. */
export interface KeyMade extends Confirmation {
  readonly key: KeyAnswer;
  /** The whole key; shown this once. */
  readonly secret: string;
}

/** DELETE /api/keys/:id. */
export interface KeyRevoked extends Confirmation {
  readonly key: KeyAnswer;
}

/** POST /api/config/reload. 422 with `error.errors` when the file is refused; the last good one stays in force. */
export interface ReloadAnswer extends Confirmation {
  readonly applied: true;
  readonly file: string;
  readonly revision: number;
  readonly servers: number;
  readonly added: readonly string[];
  readonly removed: readonly string[];
  readonly changed: readonly string[];
}
