/**
 * What a link has read from its server: rows as raw bytes, and the lists that could not be read.
 */
import type { Declared, ItemKind } from './snapshot.ts';

/** How a server has to be initialized, if not in the usual way. */
export interface LearnedOpening {
  /** Protocol version that is offered first. */
  readonly date: string;
  /** The header MCP-Protocol-Version is sent with initialize. */
  readonly hasHeader: boolean;
  /** Hash of the settings under which it was learned. */
  readonly of: string;
}

/** A list that could not be read, or not completely. */
export interface UnreadList {
  readonly kind: ItemKind;
  /** For the operator; may quote the server. */
  readonly why: string;
  /** True when more time might have helped. */
  readonly late: boolean;
  /** Rows read before the failure; undefined when no page was read and the last good list is kept. */
  readonly rows: number | undefined;
  /**
   * False when the list is not worth reading again: the server has no such list, or it has more pages than are read.
   */
  readonly isWanted: boolean;
}

/** What a link read from its server, before the catalog processes it. */
export interface RawListing {
  /** Slug. */
  readonly server: string;
  /** Wall clock ms. */
  readonly atMs: number;
  /**
   * Complete JSON text of each tool as the server sent it; undefined when the list could never be read in this process.
   */
  readonly tools: readonly Buffer[] | undefined;
  /** The same for the other kinds. */
  readonly prompts: readonly Buffer[] | undefined;
  readonly resources: readonly Buffer[] | undefined;
  readonly templates: readonly Buffer[] | undefined;
  /**
   * Lists that could not be read completely this time. The members above have what was read of them, or the last good
   * list if that is longer.
   */
  readonly unread: readonly UnreadList[];
  /** The server lists no tools, but may do so later. */
  readonly isBlank: boolean;
  readonly declared: readonly Declared[];
  readonly instructions: string;
  readonly spoken: string;
  readonly opening?: LearnedOpening | undefined;
  /** Declarations of headers in its tools must be valid (HTTP, 2026-07-28). */
  readonly repeats?: boolean;
}
