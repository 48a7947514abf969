/**
 * What control and hubs say to each other over `relay.sock`: one JSON object a line, `t` is the word.
 * Promises: a receiver skips words that it does not know, so that the two may differ by a version during a rolling replacement.
 * Does not: carry calls; nobody awaits an answer here.
 */
import type { Fact } from '../kernel/facts.ts';
import type { RequestTotals } from '../kernel/request-counts.ts';
import type { ItemKind, Listing, Snapshot } from '../kernel/snapshot.ts';
import type { ListingEnd, ListName, RowsOf } from './listing-lines.ts';

/** The last call that failed at a server, for the operator. */
export interface LastFailure {
  readonly code: string;
  readonly message: string;
  /** Native name of the tool; absent = another method was called. */
  readonly tool?: string | undefined;
  /** The same as in the log. */
  readonly reference: string;
  /** ms since then. */
  readonly agoMs: number;
}

/** A list of a server that was not read, for the operator. */
export interface UnreadNote {
  readonly kind: ItemKind;
  readonly why: string;
  /** So many rows were read before it failed; absent = none. */
  readonly rows?: number | undefined;
  /** It is asked for again soon. False = the server has no such list, or more pages than are read. */
  readonly isWanted: boolean;
}

/** How one server stands on one hub; the fields of the hub's own status that people ask for. */
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
  readonly unread?: readonly UnreadNote[] | undefined;
  readonly declaresNothing?: true | undefined;
  readonly withholdsCancels?: true | undefined;
  readonly notes?: readonly string[] | undefined;
  readonly lastFailure?: LastFailure | undefined;
}

/** What is known of a session beyond its statement. */
export interface SessionMark {
  /** Random part of the session's id. */
  readonly id: string;
  /** Wall clock ms. */
  readonly atMs: number;
  /** JSON text; undefined = its client has ended it. */
  readonly wishes: string | undefined;
  /** Whose share it is counted for; absent = stored by a version that did not say. */
  readonly owner?: string | undefined;
}

/** Rows of a listing, which come before what ends it. */
export interface RowsWord extends RowsOf {
  readonly t: 'rows';
  readonly list: ListName;
  readonly rows: readonly object[];
}

/** Ends the rows of what workers know of one server. */
export interface CatalogWord extends RowsOf {
  readonly t: 'catalog';
  /** Number of names. */
  readonly names: number;
  /** Absent = there is no listing. */
  readonly end?: ListingEnd | undefined;
  /** The worker has this listing, or a newer one: no rows of it were sent. */
  readonly isKnown?: boolean | undefined;
}

export type HubWord =
  /** `life`: of two processes of one slot (a hub and its heir) the one with the greater number speaks for it. */
  | {
      readonly t: 'hello';
      readonly slot: number;
      readonly pid: number;
      readonly revision: number;
      readonly life: number;
      /** Digests of the listings that it has, by server. */
      readonly lists?: Readonly<Record<string, string>> | undefined;
    }
  /** The lists of a server are to be sent again, with their rows. */
  | { readonly t: 'want'; readonly server: string }
  | RowsWord
  /** After the rows. */
  | ({ readonly t: 'listed'; readonly version: string } & ListingEnd)
  /** The whole in one, from a worker of an older version. */
  | { readonly t: 'listing'; readonly listing: Listing }
  | { readonly t: 'facts'; readonly facts: readonly Fact[] }
  | ({ readonly t: 'mark' } & SessionMark)
  /** `requests`: those of clients, absent from a worker of an older version. */
  | {
      readonly t: 'statuses';
      readonly servers: readonly ReportedStatus[];
      readonly requests?: RequestTotals | undefined;
    }
  | { readonly t: 'used'; readonly keyIds: readonly string[] };

export type ControlWord =
  /** Everything but lists and names. `catalogs`: servers whose lists or names come too. */
  | { readonly t: 'world'; readonly snapshot: Snapshot; readonly catalogs: readonly string[] }
  | RowsWord
  /** Lists and names of one server, after their rows. */
  | CatalogWord
  /** The whole in one, from control of an older version. */
  | { readonly t: 'snapshot'; readonly snapshot: Snapshot }
  /** To every hub, the one that told of them too: that is how it knows they are kept. */
  | { readonly t: 'marks'; readonly marks: readonly SessionMark[] }
  /** The lists of all servers are to be read again. */
  | { readonly t: 'relist' };

/** A word as its line on the wire. */
export function lineFrom(word: HubWord | ControlWord): string {
  return `${JSON.stringify(word)}\n`;
}

/** A fact as JSON; undefined when it cannot be told. A fault becomes its message: stacks and causes stay in their process. */
export function factText(fact: Fact): string | undefined {
  try {
    return JSON.stringify(fact, faultAsWords);
  } catch {
    return undefined;
  }
}

function faultAsWords(key: string, value: unknown): unknown {
  if (value instanceof Error) return value.message;
  return key === 'fault' && typeof value === 'object' ? String(value) : value;
}

/** A line's word, or undefined when it is none. */
export function wordFrom<W extends { readonly t: string }>(line: Buffer): W | undefined {
  try {
    const word: unknown = JSON.parse(line.toString('utf8'));
    return typeof word === 'object' && word !== null && typeof (word as { t?: unknown }).t === 'string'
      ? (word as W)
      : undefined;
  } catch {
    return undefined;
  }
}
