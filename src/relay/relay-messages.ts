/**
 * Messages between control and workers on `relay.sock`, one JSON object per line, `t` is the type. Calls never use the
 * relay.
 * Guarantees: receivers ignore unknown types, so that both ends may differ by a version during a rolling replacement.
 * Types and member names are a wire format: they stay, also where newer code uses other words (`world` = head of a
 * snapshot, `mark` = session record, `wishes` = preferences).
 */
import type { HubEvent } from '../model/events.ts';
import type { ItemKind, Listing, Snapshot } from '../model/snapshot.ts';
import type { RequestTotals } from '../runtime/request-counts.ts';
import type { ListingEnd, ListingVersion, ListName } from './listing-lines.ts';

/** The last failed call of a server, for the operator. */
export interface LastFailure {
  readonly code: string;
  readonly message: string;
  /** Native name of the tool; absent = the call was another method. */
  readonly tool?: string | undefined;
  /** The reference in the log. */
  readonly reference: string;
  /** Age, ms. */
  readonly agoMs: number;
}

/** A list of a server that could not be read, for the operator. */
export interface UnreadList {
  readonly kind: ItemKind;
  readonly why: string;
  /** Rows read before the failure; absent = none. */
  readonly rows?: number | undefined;
  /** Whether it will be read again soon. False = the server has no such list, or more pages than the limit. */
  readonly isWanted: boolean;
}

/** Status of one server in one worker; the part that the admin API returns. */
export interface ReportedStatus {
  readonly server: string;
  readonly name: string;
  readonly transport: string;
  readonly state: string;
  readonly phase?: string | undefined;
  readonly cause?: string | undefined;
  readonly code?: string | undefined;
  readonly reference?: string | undefined;
  readonly sinceMs: number;
  readonly retryMs?: number | undefined;
  readonly tools: number;
  readonly inFlight: number;
  readonly queued: number;
  readonly calls: number;
  readonly failures: number;
  readonly restarts: number;
  readonly crashLoop?: number | undefined;
  readonly pid?: number | undefined;
  readonly serverInfo?: string | undefined;
  readonly protocolVersion?: string | undefined;
  readonly silenceMs: number;
  readonly unread?: readonly UnreadList[] | undefined;
  readonly declaresNothing?: true | undefined;
  readonly withholdsCancels?: true | undefined;
  readonly unmatched?: number | undefined;
  readonly notes?: readonly string[] | undefined;
  readonly lastFailure?: LastFailure | undefined;
}

/** Replicated state of a session: a tombstone, or its preferences. */
export interface SessionRecord {
  /** Random part of the session id. */
  readonly id: string;
  /** Wall clock ms. */
  readonly atMs: number;
  /** Preferences as JSON text; undefined = tombstone: the client has ended the session. */
  readonly wishes: string | undefined;
  /** Whose share it is charged to; absent = written by an older version. */
  readonly owner?: string | undefined;
}

/** Rows of a listing; sent before its last line. */
export interface RowsMessage extends ListingVersion {
  readonly t: 'rows';
  readonly list: ListName;
  readonly rows: readonly object[];
}

/** Last line of the catalog of one server. */
export interface CatalogMessage extends ListingVersion {
  readonly t: 'catalog';
  /** Number of names. */
  readonly names: number;
  /** Absent = no listing. */
  readonly end?: ListingEnd | undefined;
  /** The worker already has this listing or a newer one: its rows were not sent. */
  readonly isKnown?: boolean | undefined;
}

export type WorkerMessage =
  /**
   * `life`: of two processes of one slot (a worker and its replacement), the one with the greater number reports for
   * the slot; one without counts as 0.
   */
  | {
      readonly t: 'hello';
      readonly slot: number;
      readonly pid: number;
      readonly revision: number;
      readonly life: number;
      /** Digests of the worker's listings, by server. */
      readonly lists?: Readonly<Record<string, string>> | undefined;
    }
  /** Requests the lists of a server again, with their rows. */
  | { readonly t: 'want'; readonly server: string }
  | RowsMessage
  /** Last line of a listing. */
  | ({ readonly t: 'listed'; readonly version: string } & ListingEnd)
  /** A whole listing, from a worker of an older version. */
  | { readonly t: 'listing'; readonly listing: Listing }
  | { readonly t: 'facts'; readonly facts: readonly HubEvent[] }
  | ({ readonly t: 'mark' } & SessionRecord)
  /**
   * `requests`: counts of client requests. `awaitingRestart`: limits that this worker takes with its next start. Both
   * are absent from workers of an older version.
   */
  | {
      readonly t: 'statuses';
      readonly servers: readonly ReportedStatus[];
      readonly requests?: RequestTotals | undefined;
      readonly awaitingRestart?: readonly string[] | undefined;
    }
  | { readonly t: 'used'; readonly keyIds: readonly string[] };

/** What a worker reports beside the states of its servers. */
export type WorkerFigures = Pick<WorkerMessage & { t: 'statuses' }, 'requests' | 'awaitingRestart'>;

export type ControlMessage =
  /** Head of a snapshot: everything but lists and names. `catalogs`: servers whose lists or names follow. */
  | { readonly t: 'world'; readonly snapshot: Snapshot; readonly catalogs: readonly string[] }
  | RowsMessage
  /** Last line of a server's lists and names. */
  | CatalogMessage
  /** A whole snapshot, from control of an older version. */
  | { readonly t: 'snapshot'; readonly snapshot: Snapshot }
  /** Sent to every worker, also to the one that sent the record, as confirmation that it is stored. */
  | { readonly t: 'marks'; readonly marks: readonly SessionRecord[] }
  /** Makes the worker read the lists of all servers again. */
  | { readonly t: 'relist' };

/** Returns the message as a line. */
export function encodeMessage(message: WorkerMessage | ControlMessage): string {
  return `${JSON.stringify(message)}\n`;
}

/**
 * Returns an event as JSON, or undefined when it cannot be encoded. An error becomes its message: stacks and causes
 * stay in their process.
 */
export function encodeFact(fact: HubEvent): string | undefined {
  try {
    return JSON.stringify(fact, faultAsMessage);
  } catch {
    return undefined;
  }
}

function faultAsMessage(key: string, value: unknown): unknown {
  if (value instanceof Error) return value.message;
  return key === 'fault' && typeof value === 'object' ? String(value) : value;
}

/** Returns the message in a line, or undefined when it is not valid. */
export function parseMessage<W extends { readonly t: string }>(line: Buffer): W | undefined {
  try {
    const message: unknown = JSON.parse(line.toString('utf8'));
    return typeof message === 'object' && message !== null && typeof (message as { t?: unknown }).t === 'string'
      ? (message as W)
      : undefined;
  } catch {
    return undefined;
  }
}
