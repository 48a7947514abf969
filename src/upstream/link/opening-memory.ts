/**
 * Remembers how to initialize one server: with an older protocol version, or with the header MCP-Protocol-Version.
 * Guarantees: this is tried first in the next connection; it is forgotten after a day, when the settings change, or
 * when the server reports another name or version; after an exit at one version the next start offers another.
 */

import type { HubError } from '../../model/errors.ts';
import type { LearnedOpening } from '../../model/raw-listing.ts';
import type { InitializeResult } from '../../protocol/era-2025/initialize.ts';
import { isVersion2025, LATEST_2025 } from '../../protocol/era-2025/versions.ts';
import type { Clock } from '../../runtime/clock.ts';

/** One way to initialize. */
export interface Offer {
  readonly date: string;
  /** Send MCP-Protocol-Version with it. */
  readonly hasHeader: boolean;
}

/** The server may have been replaced by one that supports newer versions, ms. */
const VALID_MS = 24 * 60 * 60_000;
/**
 * Servers that support several versions mostly support the older ones: the oldest is second, because a child is started
 * twice without a long backoff.
 */
const DATES_OF_LIVES = ['2025-06-18', '2024-11-05', '2025-03-26'] as const;
const DATE = /\b20\d\d-\d\d-\d\d\b/g;
const OF_PROTOCOL = /protocol|version/i;

export class OpeningMemory {
  readonly #clock: Clock;
  readonly #hash: () => string;
  readonly #before: () => LearnedOpening | undefined;
  #learned: (Offer & { readonly atMs: number; readonly of: string }) | undefined;
  #isRead = false;
  /** Offered and not answered yet. */
  #pending: Offer | undefined;
  /** Dates at which the process has exited, in lives without an answer between them. */
  #exits: readonly string[] = []; // bounded by: the dates of the era
  /** Dates that it named when it exited. */
  #named: readonly string[] = []; // bounded by: the last lines of its stderr
  /**
   * The process exited without a reason that concerns the protocol: the next start offers the newest version again, to
   * find out.
   */
  #isDoubtful = false;

  /** `hash` returns the hash of the server's settings; `before` what an earlier process has learned. */
  constructor(clock: Clock, hash: () => string, before: () => LearnedOpening | undefined) {
    this.#clock = clock;
    this.#hash = hash;
    this.#before = before;
  }

  /** What to offer first. */
  get first(): Offer {
    const next = this.#afterExits();
    if (next !== undefined) return { date: next, hasHeader: false };
    const learned = this.#valid();
    return learned && !this.#isDoubtful ? learned : { date: LATEST_2025, hasHeader: false };
  }

  /** What the next process should know; undefined when it is initialized as usual, or that is not certain. */
  get learned(): LearnedOpening | undefined {
    const learned = this.#valid();
    if (!learned || this.#isDoubtful) return undefined;
    return { date: learned.date, hasHeader: learned.hasHeader, of: learned.of };
  }

  /** Records that it is about to be offered. */
  offers(offer: Offer): void {
    this.#pending = offer;
  }

  /** Records that the offer was refused. */
  refused(): void {
    this.#pending = undefined;
    this.#exits = [];
  }

  accepted(offer: Offer): void {
    this.#pending = undefined;
    const isUsual = offer.date === LATEST_2025 && !offer.hasHeader;
    const isOfExits = this.#exits.length > 0;
    // It is certain if it was learned from a refusal, or from exits that gave the reason or happened twice.
    const wasDoubted = this.#isDoubtful;
    this.#isDoubtful = isOfExits && !isUsual && !wasDoubted && this.#named.length === 0;
    this.#exits = [];
    this.#named = [];
    this.#isRead = true;
    this.#learned = isUsual
      ? undefined
      : { ...offer, atMs: this.#valid()?.atMs ?? this.#clock.nowMs(), of: this.#hash() };
  }

  /** Forgets it when the server reports another name or version than before. */
  changed(before: InitializeResult | undefined, now: InitializeResult): void {
    if (!before || (before.name === now.name && before.serverVersion === now.serverVersion)) return;
    this.#learned = undefined;
    this.#isDoubtful = false;
  }

  /** Records the end of a connection. */
  ended({ code, message, detail }: HubError): void {
    const offered = this.#pending;
    this.#pending = undefined;
    if (!offered) return;
    const hasExited = code === 'upstream-exit' && typeof detail.exitCode === 'number' && detail.exitCode !== 0;
    if (!hasExited) {
      this.#exits = [];
      return;
    }
    this.#exits = [...this.#exits, offered.date];
    const dates = (message.match(DATE) ?? []).filter((date) => date !== offered.date && isVersion2025(date));
    if (dates.length > 0 && OF_PROTOCOL.test(message)) this.#named = dates;
    // None of the versions was the reason.
    if (this.#afterExits() === undefined) this.#forget();
  }

  #forget(): void {
    this.#exits = [];
    this.#named = [];
    this.#learned = undefined;
    this.#isDoubtful = false;
  }

  /**
   * Returns the version to offer after exits; undefined when no process exited at an offer, or when it did at all of
   * them.
   */
  #afterExits(): string | undefined {
    if (this.#exits.length === 0) return undefined;
    const known = this.#valid()?.date;
    const dates = [...this.#named, ...(known === undefined ? [] : [known]), ...DATES_OF_LIVES, LATEST_2025];
    return dates.find((date) => !this.#exits.includes(date));
  }

  #valid(): (Offer & { readonly atMs: number; readonly of: string }) | undefined {
    const nowMs = this.#clock.nowMs();
    if (!this.#isRead) {
      this.#isRead = true;
      const before = this.#before();
      if (before && isVersion2025(before.date)) this.#learned ??= { ...before, atMs: nowMs };
    }
    const learned = this.#learned;
    return learned && learned.of === this.#hash() && nowMs - learned.atMs < VALID_MS ? learned : undefined;
  }
}
