/**
 * The last good lists of a link, and whether to read them again.
 * Guarantees: they are kept during every outage; an unchanged list is not reported as new; an unread or incomplete list
 * is reported once.
 */

import type { RawListing, ServerSpec, UnreadList } from '../../model/snapshot.ts';
import type { InitializeResult } from '../../protocol/era-2025/initialize.ts';
import type { Runtime } from '../../runtime/runtime.ts';
import type { ServerLists } from './fetch-lists.ts';
import type { OpeningMemory } from './opening-memory.ts';
import { isSameListing, rawListingOf } from './raw-listing.ts';

export class LinkLists {
  readonly #runtime: Pick<Runtime, 'clock' | 'bus'>;
  readonly #listed: (raw: RawListing, isSame: boolean) => void;
  readonly #opening: Pick<OpeningMemory, 'learned'>;
  #raw: RawListing | undefined;
  /**
   * The list changed while the first one of this connection was being read, or there was too little time to read it.
   */
  isStale = false;

  /** `isSame`: nothing in it is new; `opening`: how the server has to be initialized. */
  constructor(
    runtime: Pick<Runtime, 'clock' | 'bus'>,
    listed: (raw: RawListing, isSame: boolean) => void,
    opening: Pick<OpeningMemory, 'learned'>,
  ) {
    this.#runtime = runtime;
    this.#listed = listed;
    this.#opening = opening;
  }

  get raw(): RawListing | undefined {
    return this.#raw;
  }

  /**
   * Whether a retry may return what is missing: `unread`: a list could not be read; `more`: a list is incomplete, or
   * there are no tools.
   */
  get wants(): 'unread' | 'more' | undefined {
    const wanted = this.#raw?.unread.filter(({ isWanted }) => isWanted) ?? [];
    if (wanted.some(({ rows }) => rows === undefined)) return 'unread';
    return wanted.length > 0 || this.#raw?.isBlank ? 'more' : undefined;
  }

  /** Stores the lists; returns true when something is new. `isAgain`: this connection has read them before. */
  keep(spec: ServerSpec, hello: InitializeResult, lists: ServerLists, isAgain: boolean): boolean {
    const { clock, bus } = this.#runtime;
    const before = this.#raw;
    this.#raw = rawListingOf({ spec, atMs: clock.wallMs(), hello, lists, before, opening: this.#opening.learned });
    // They are read again in the background, with more time.
    if (!isAgain && lists.unread.some(({ late }) => late)) this.isStale = true;
    const isKnown = ({ kind, rows }: UnreadList) =>
      before?.unread.some((one) => one.kind === kind && (one.rows === undefined) === (rows === undefined));
    if (!lists.unread.every(isKnown)) bus.publish({ type: 'lists-unread', server: spec.slug, lists: lists.unread });
    const isSame = isAgain && isSameListing(before, this.#raw);
    this.#listed(this.#raw, isSame);
    return !isSame;
  }
}
