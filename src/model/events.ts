/**
 * The closed list of facts. Telemetry turns them into log lines and figures, health reads them, the relay carries them to control.
 * Promises: names are in the past tense and stable (they are the log's `event`); no fact carries a key, a token, arguments or a result.
 */
import type { ErrorCode } from './errors.ts';
import type { UnreadList } from './snapshot.ts';

/** Where a link to a server stands. `waiting` = will try again by itself. */
/** `asleep` = the child has exited by itself, and the next call starts it. */
export type LinkState = 'idle' | 'asleep' | 'connecting' | 'ready' | 'waiting' | 'stopped';
/** What a link is doing while it is `connecting`. */
/** `queue` = other children are loading: its turn to start has not come. */
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
      /** MB an hour over the last quarter of an hour; absent in the first minutes. */
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
  /** A reader that took nothing of a complete answer; `bytes` were left. */
  | { readonly type: 'reader-cut'; readonly bytes: number }
  /** Nothing that was sent to them has been acknowledged for long. */
  | { readonly type: 'clients-vanished'; readonly connections: number }
  | { readonly type: 'key-accepted'; readonly user: string; readonly keyName: string; readonly keyPrefix: string }
  | { readonly type: 'keys-published'; readonly keysRevision: number; readonly keys: number }
  /** Lists of a server that are too large to travel in the snapshot. */
  | { readonly type: 'catalog-left-out'; readonly server: string; readonly bytes: number }
  /** Something that was open for callers was ended, because its key was revoked, has expired or may see less. */
  | { readonly type: 'access-ended'; readonly items: number; readonly keysRevision: number }
  /** `address` is empty for a count of several addresses. */
  | { readonly type: 'key-refused'; readonly reason: ErrorCode; readonly address: string; readonly times: number }
  /** A request on a socket of the control process had no right there. */
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
  /** A request was refused before it became a call. `times` counts those before it of the same code that had no event; without an address it counts only. */
  | {
      readonly type: 'request-refused';
      readonly code: ErrorCode;
      readonly times: number;
      readonly address: string;
      /** Method of HTTP, path without query, and User-Agent; empty = unknown. */
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
      /** What clients are given instead of the message. */
      readonly reference?: string;
    }
  /** A call failed at its server. `message` is for the operator; clients get the reference. */
  | {
      readonly type: 'server-call-failed';
      readonly server: string;
      readonly code: ErrorCode;
      readonly message: string;
      readonly reference: string;
      /** Beginning of the server's HTTP error page; empty = none. */
      readonly page: string;
      /** Native name of the tool; undefined = another method was called. */
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
  /** Lists of a server were not read, or not to their end, which had been before, or for the first time. */
  | { readonly type: 'lists-unread'; readonly server: string; readonly lists: readonly UnreadList[] }
  /** A question to a user was answered by the hub with an error, because it is not allowed. */
  | { readonly type: 'question-refused'; readonly server: string; readonly method: string; readonly reason: string }
  /** Addresses that a server lists belong to other servers; its own are under `mcphub://<slug>/…`. */
  | {
      readonly type: 'resources-shadowed';
      readonly server: string;
      readonly count: number;
      /** The first of them. */
      readonly addresses: readonly string[];
    }
  /** A server sends more notifications than are passed on; `count` = since the last such event. */
  | { readonly type: 'notifications-dropped'; readonly server: string; readonly count: number }
  /** Messages of a server were no valid JSON-RPC; counts since the last such event. */
  | {
      readonly type: 'messages-invalid';
      readonly server: string;
      /** Passed on with the invalid part replaced. */
      readonly repaired: number;
      readonly refused: number;
      /** What is wrong with the last of them. */
      readonly reason: string;
    }
  /** How a server wants to be spoken to was found out. */
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
      /** What the container tool said when it failed; undefined = they have ended. */
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
  | { readonly type: 'config-refused'; readonly file: string; readonly errors: readonly string[] }
  /** The system tells of changes of the configuration's directory no more; the file is looked at all the same. */
  | { readonly type: 'config-hints-ended'; readonly dir: string; readonly reason: string }
  /** The first key was written to this file (0600); nothing else holds it. */
  | { readonly type: 'first-key-kept'; readonly file: string }
  | { readonly type: 'key-created'; readonly user: string; readonly keyName: string; readonly keyPrefix: string }
  | { readonly type: 'key-revoked'; readonly user: string; readonly keyName: string; readonly keyPrefix: string }
  | { readonly type: 'store-migrated'; readonly from: number; readonly to: number; readonly backup: string };
