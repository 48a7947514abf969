/**
 * What a link reads from its server, as data: rows as the bytes they are, and what could not be read.
 */
import type { Declared, ItemKind } from './snapshot.ts';

/** How a server has to be initialized, where that is not the usual way. */
export interface LearnedOpening {
  /** Protocol date that is offered first. */
  readonly date: string;
  /** MCP-Protocol-Version goes with initialize. */
  readonly hasHeader: boolean;
  /** Hash of the settings for which it was learned. */
  readonly of: string;
}

/** A list that was not read, or not to its end. */
export interface UnreadList {
  readonly kind: ItemKind;
  /** For the operator: may quote what the server said. */
  readonly why: string;
  /** More time might have helped. */
  readonly late: boolean;
  /** Rows that were read before it failed; undefined = no page was: the last good list stays. */
  readonly rows: number | undefined;
  /** Asking again may help. False = the server has no such list, or more pages than are read. */
  readonly isWanted: boolean;
}

/** What a link read from its server, before the catalog looks at it. */
export interface RawListing {
  /** Slug. */
  readonly server: string;
  /** Wall clock ms. */
  readonly atMs: number;
  /** Complete JSON text of each tool object, as the server sent it; undefined = could not be read, and never was in this process. */
  readonly tools: readonly Buffer[] | undefined;
  /** The same of the other kinds. */
  readonly prompts: readonly Buffer[] | undefined;
  readonly resources: readonly Buffer[] | undefined;
  readonly templates: readonly Buffer[] | undefined;
  /** Lists that could not be read this time; above stands what was read of them, or the last good one where that is longer. */
  readonly unread: readonly UnreadList[];
  /** The server lists no tool, and may do so later. */
  readonly isBlank: boolean;
  readonly declared: readonly Declared[];
  readonly instructions: string;
  readonly spoken: string;
  readonly opening?: LearnedOpening | undefined;
  /** Its tools' declarations of headers must be legal (HTTP, 2026-07-28). */
  readonly repeats?: boolean;
}
