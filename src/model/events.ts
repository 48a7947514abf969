/**
 * The closed list of events. Telemetry turns them into log lines and metrics, health reads them, and workers send them
 * to the control process.
 * Guarantees: names are in the past tense and stable (they are the log's `event`); no event contains a key, a token,
 * arguments or a result.
 */
import type { ErrorCode } from './errors.ts';
import type { UnreadList } from './snapshot.ts';

/** State of a link to a server. `waiting`: it reconnects by itself. */
/** `asleep`: the child process has exited by itself, and the next call starts it. */
export type LinkState = 'idle' | 'asleep' | 'connecting' | 'ready' | 'waiting' | 'stopped';
/** What a link does while it is `connecting`. */
/** `queue`: it waits until fewer other child processes are starting. */
export type LinkPhase = 'install' | 'queue' | 'start' | 'connect' | 'handshake' | 'list';

export type HubEvent =
  // process
  | { readonly type: 'process-started'; readonly role: string; readonly pid: number; readonly ms: number }
  | {
      readonly type: 'process-stopped';
      readonly role: string;
      readonly reason: string;
      readonly ms: number;
      readonly stuck: readonly string[];
    }
  | { readonly type: 'listening-started'; readonly where: string }
  | { readonly type: 'drain-started'; readonly calls: number; readonly streams: number }
  | { readonly type: 'loop-stalled'; readonly ms: number; readonly stack: string }
  | {
      readonly type: 'memory-measured';
      readonly rssBytes: number;
      readonly heapBytes: number;
      readonly externalBytes: number;
      readonly loopP99Ms: number;
      readonly peakRssBytes: number;
      /** MB an hour over the last 15 minutes; absent in the first minutes. */
      readonly slope?: number;
    }
  | { readonly type: 'pressure-changed'; readonly level: 'calm' | 'high' | 'shedding'; readonly cause: string }
  | { readonly type: 'task-faulted'; readonly task: string; readonly fault: unknown }
  | { readonly type: 'task-stuck'; readonly task: string }
  | { readonly type: 'wait-expired'; readonly label: string; readonly owner: string }
  | { readonly type: 'log-dropped'; readonly lines: number }
  // clients
  | {
      readonly type: 'session-created';
      readonly session: string;
      readonly user: string;
      readonly client: string;
      readonly version: string;
      readonly path: string;
    }
  | { readonly type: 'session-ended'; readonly session: string; readonly reason: string }
  | { readonly type: 'stream-opened'; readonly session: string }
  | { readonly type: 'stream-closed'; readonly session: string; readonly reason: string; readonly ms: number }
  /** A client did not read a complete response; `bytes` were not sent. */
  | { readonly type: 'reader-cut'; readonly bytes: number }
  /** Connections of clients that have not acknowledged anything for long. */
  | { readonly type: 'clients-vanished'; readonly connections: number }
  | { readonly type: 'key-accepted'; readonly user: string; readonly keyName: string; readonly keyPrefix: string }
  | { readonly type: 'keys-published'; readonly keysRevision: number; readonly keys: number }
  /** Lists of a server are too large for the snapshot. */
  | { readonly type: 'catalog-left-out'; readonly server: string; readonly bytes: number }
  /** Calls or streams were ended because their key was revoked, has expired or has fewer rights. */
  | { readonly type: 'access-ended'; readonly items: number; readonly keysRevision: number }
  /** `address` is empty for a count of several addresses. */
  | { readonly type: 'key-refused'; readonly reason: ErrorCode; readonly address: string; readonly times: number }
  /** A request on a socket of the control process was not authorized. */
  | { readonly type: 'api-refused'; readonly socket: 'operator' | 'workers'; readonly reason: ErrorCode }
  | {
      readonly type: 'call-answered';
      readonly requestId: string;
      readonly method: string;
      readonly user: string;
      readonly server?: string | undefined;
      readonly tool?: string | undefined;
      readonly ms: number;
      readonly bytes: number;
      readonly outcome: 'ok' | 'tool-error' | 'error' | 'refused';
      readonly code?: ErrorCode | undefined;
      /** Why it failed at its server, for the operator. */
      readonly why?: string | undefined;
      readonly reference?: string | undefined;
    }
  /**
   * A request was refused before it became a call. `times` also counts earlier ones of the same code without an event;
   * an event without an address is such a count only.
   */
  | {
      readonly type: 'request-refused';
      readonly code: ErrorCode;
      readonly times: number;
      readonly address: string;
      /** HTTP method, path without query, and User-Agent; empty when unknown. */
      readonly method: string;
      readonly path: string;
      readonly client: string;
      readonly server?: string;
      readonly message: string;
    }
  // servers
  | { readonly type: 'server-phase-entered'; readonly server: string; readonly phase: LinkPhase }
  | {
      readonly type: 'server-became-ready';
      readonly server: string;
      readonly tools: number;
      readonly ms: number;
      readonly version: string;
    }
  | {
      readonly type: 'server-was-lost';
      readonly server: string;
      readonly code: ErrorCode;
      readonly message: string;
      readonly retryMs: number;
      readonly phase: string;
      /** What clients get instead of the message. */
      readonly reference?: string;
    }
  /** A call failed at its server. `message` is for the operator; clients get the reference. */
  | {
      readonly type: 'server-call-failed';
      readonly server: string;
      readonly code: ErrorCode;
      readonly message: string;
      readonly reference: string;
      /** Beginning of the server's HTTP error page; empty when there is none. */
      readonly page: string;
      /** Native name of the tool; undefined for other methods. */
      readonly tool?: string | undefined;
    }
  | { readonly type: 'server-fell-asleep'; readonly server: string }
  | { readonly type: 'cancels-withheld'; readonly server: string }
  | { readonly type: 'server-stopped'; readonly server: string; readonly reason: string }
  | { readonly type: 'server-said'; readonly server: string; readonly line: string }
  | {
      readonly type: 'server-listed';
      readonly server: string;
      readonly tools: number;
      readonly prompts?: number;
      /** Templates included. */
      readonly resources?: number;
      readonly changed: boolean;
      readonly repaired: readonly string[];
    }
  /** Lists of a server could not be read, or not completely: for the first time, or after they could be read before. */
  | { readonly type: 'lists-unread'; readonly server: string; readonly lists: readonly UnreadList[] }
  /** The hub answered a server's request to a user with an error, because such requests are not allowed. */
  | { readonly type: 'question-refused'; readonly server: string; readonly method: string; readonly reason: string }
  /** A server lists resource addresses that belong to other servers; its own are exposed under `mcphub://<slug>/…`. */
  | {
      readonly type: 'resources-shadowed';
      readonly server: string;
      readonly count: number;
      /** The first of these addresses. */
      readonly addresses: readonly string[];
    }
  /** A server sends more notifications than are passed on; `count` is the number since the last such event. */
  | { readonly type: 'notifications-dropped'; readonly server: string; readonly count: number }
  /** A server sent messages that are not valid JSON-RPC; the counts are those since the last such event. */
  | {
      readonly type: 'messages-invalid';
      readonly server: string;
      /** Passed on with the invalid part replaced. */
      readonly repaired: number;
      readonly refused: number;
      /** What is wrong with the last of them. */
      readonly reason: string;
    }
  /** The hub has learned how a server differs from the usual protocol. */
  | { readonly type: 'server-habit-learned'; readonly server: string; readonly note: string }
  | { readonly type: 'server-silence-raised'; readonly server: string; readonly silenceMs: number }
  | { readonly type: 'child-started'; readonly server: string; readonly pid: number }
  | {
      readonly type: 'child-exited';
      readonly server: string;
      readonly pid: number;
      readonly code: number | null;
      readonly signal: string | null;
      readonly stderrTail: string;
    }
  | { readonly type: 'children-swept'; readonly pids: readonly number[] }
  | {
      readonly type: 'containers-ended';
      readonly server: string;
      readonly ids: readonly string[];
      /** Error output of the container tool; undefined when the containers were ended. */
      readonly fault: string | undefined;
    }
  | { readonly type: 'breaker-opened'; readonly server: string; readonly ms: number; readonly cause: string }
  | { readonly type: 'breaker-closed'; readonly server: string }
  // planes
  | { readonly type: 'snapshot-published'; readonly revision: number; readonly servers: number; readonly keys: number }
  | {
      readonly type: 'snapshot-swapped';
      readonly revision: number;
      readonly servers: number;
      readonly keys: number;
      readonly source: 'control' | 'disk';
    }
  | { readonly type: 'control-lost'; readonly reason: string }
  | { readonly type: 'control-found' }
  | { readonly type: 'facts-dropped'; readonly count: number }
  | { readonly type: 'config-applied'; readonly file: string; readonly servers: number; readonly revision: number }
  /** Limits of the configuration in effect that this process takes with its next start only. */
  | { readonly type: 'restart-needed'; readonly limits: readonly string[] }
  | { readonly type: 'config-refused'; readonly file: string; readonly errors: readonly string[] }
  /** The system no longer reports changes of the configuration's directory; the file is still checked. */
  | { readonly type: 'config-hints-ended'; readonly dir: string; readonly reason: string }
  /** The first key was written to this file (0600); nothing else holds it. */
  | { readonly type: 'first-key-kept'; readonly file: string }
  | { readonly type: 'key-created'; readonly user: string; readonly keyName: string; readonly keyPrefix: string }
  | { readonly type: 'key-revoked'; readonly user: string; readonly keyName: string; readonly keyPrefix: string }
  | { readonly type: 'store-migrated'; readonly from: number; readonly to: number; readonly backup: string };
