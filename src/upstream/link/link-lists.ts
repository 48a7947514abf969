/**
 * The last good lists of a link, and whether they are to be read again.
 * Guarantees: they outlive every outage; what is read again and is the same is not new; a list that is not read, or not to its end, is stated once.
 */

import type { LearnedOpening } from '../../model/raw-listing.ts';
import type { RawListing, ServerSpec, UnreadList } from '../../model/snapshot.ts';
import type { InitializeResult } from '../../protocol/era-2025/initialize.ts';
import type { Runtime } from '../../runtime/runtime.ts';
import type { ServerLists } from './fetch-lists.ts';
import { isSameListing, rawListingOf } from './raw-listing.ts';

export class LinkLists {
  readonly #runtime: Pick<Runtime, 'clock' | 'bus'>;
  readonly #listed: (raw: RawListing, isSame: boolean) => void;
  readonly #opening: () => LearnedOpening | undefined;
  #raw: RawListing | undefined;
  /** The list changed while the first one of this life was being read, or there was too little time for it. */
  isStale = false;

  /** `isSame` = nothing is new in it; `opening` = how the server has to be initialized. */
  constructor(
    runtime: Pick<Runtime, 'clock' | 'bus'>,
    listed: (raw: RawListing, isSame: boolean) => void,
    opening: () => LearnedOpening | undefined,
  ) {
    this.#runtime = runtime;
    this.#listed = listed;
    this.#opening = opening;
  }

  get raw(): RawListing | undefined {
    return this.#raw;
  }

  /** Whether asking again may bring what is missing: `unread` = a list of which nothing was read, `more` = the rest of one, or tools where there are none. */
  get wants(): 'unread' | 'more' | undefined {
    const wanted = this.#raw?.unread.filter(({ isWanted }) => isWanted) ?? [];
    if (wanted.some(({ rows }) => rows === undefined)) return 'unread';
    return wanted.length > 0 || this.#raw?.isBlank ? 'more' : undefined;
  }

  /** True = something is new. `isAgain` = this life has read them before. */
  keep(spec: ServerSpec, hello: InitializeResult, lists: ServerLists, isAgain: boolean): boolean {
    const { clock, bus } = this.#runtime;
    const before = this.#raw;
    this.#raw = rawListingOf({ spec, atMs: clock.wallMs(), hello, lists, before, opening: this.#opening() });
    // Read again in the background, with more time.
    if (!isAgain && lists.unread.some(({ late }) => late)) this.isStale = true;
    const isKnown = ({ kind, rows }: UnreadList) =>
      before?.unread.some((one) => one.kind === kind && (one.rows === undefined) === (rows === undefined));
    if (!lists.unread.every(isKnown)) bus.publish({ type: 'lists-unread', server: spec.slug, lists: lists.unread });
    const isSame = isAgain && isSameListing(before, this.#raw);
    this.#listed(this.#raw, isSame);
    return !isSame;
  }
}
