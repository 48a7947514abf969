/**
 * The last good lists of a link, and whether they are to be read again.
 * Guarantees: they outlive every outage; what is read again and is the same is not new; a list that is not read, or not to its end, is stated once.
 */
import type { Kernel } from '../kernel/kernel.ts';
import type { LearnedOpening } from '../kernel/raw-listing.ts';
import type { RawListing, ServerSpec, UnreadList } from '../kernel/snapshot.ts';
import type { ServerHello } from '../protocol/era-2025/initialize.ts';
import { isSameListing, rawListingOf } from './_raw-listing.ts';
import type { ServerLists } from './list.ts';

export class LinkLists {
  readonly #kernel: Pick<Kernel, 'clock' | 'bus'>;
  readonly #listed: (raw: RawListing, isSame: boolean) => void;
  readonly #opening: () => LearnedOpening | undefined;
  #raw: RawListing | undefined;
  /** The list changed while the first one of this life was being read, or there was too little time for it. */
  isStale = false;

  /** `isSame` = nothing is new in it; `opening` = how the server has to be initialized. */
  constructor(
    kernel: Pick<Kernel, 'clock' | 'bus'>,
    listed: (raw: RawListing, isSame: boolean) => void,
    opening: () => LearnedOpening | undefined,
  ) {
    this.#kernel = kernel;
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
  keep(spec: ServerSpec, hello: ServerHello, lists: ServerLists, isAgain: boolean): boolean {
    const { clock, bus } = this.#kernel;
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
