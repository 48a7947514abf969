/**
 * The last good lists of a link, and whether they are to be read again.
 * Guarantees: they outlive every outage; what is read again and is the same is not new.
 */
import type { Clock } from '../kernel/clock.ts';
import type { RawListing, ServerSpec } from '../kernel/snapshot.ts';
import type { ServerHello } from '../protocol/era-2025/initialize.ts';
import { isSameListing, rawListingOf } from './_raw-listing.ts';
import type { ServerLists } from './list.ts';

export class LinkLists {
  readonly #clock: Clock;
  readonly #listed: (raw: RawListing, isSame: boolean) => void;
  #raw: RawListing | undefined;
  /** The list changed while the first one of this life was being read. */
  isStale = false;

  /** `isSame` = nothing is new in it. */
  constructor(clock: Clock, listed: (raw: RawListing, isSame: boolean) => void) {
    this.#clock = clock;
    this.#listed = listed;
  }

  get raw(): RawListing | undefined {
    return this.#raw;
  }

  /** True = something is new. `isAgain` = this life has read them before. */
  keep(spec: ServerSpec, hello: ServerHello, lists: ServerLists, isAgain: boolean): boolean {
    const before = this.#raw;
    this.#raw = rawListingOf({ spec, atMs: this.#clock.wallMs(), hello, lists, before });
    const isSame = isAgain && isSameListing(before, this.#raw);
    this.#listed(this.#raw, isSame);
    return !isSame;
  }
}
