/**
 * How one server wants to be initialized, where that is not the usual way: with an older protocol date, or with the header MCP-Protocol-Version.
 * Guarantees: what was learned is tried first in the next connection, and is forgotten when the server says that it is another program or version, after a day, and
 * with the settings of the server; a process that exits when it is offered a date gets another one in its next life.
 */

import type { HubError } from '../../model/errors.ts';
import type { LearnedOpening } from '../../model/raw-listing.ts';
import type { InitializeResult } from '../../protocol/era-2025/initialize.ts';
import { isVersion2025, LATEST_2025 } from '../../protocol/era-2025/versions.ts';
import type { Clock } from '../../runtime/clock.ts';

/** One way to initialize. */
export interface Offer {
  readonly date: string;
  /** MCP-Protocol-Version goes with it. */
  readonly hasHeader: boolean;
}

/** The server may have been replaced by one that knows newer dates, without a word. */
const VALID_MS = 24 * 60 * 60_000;
/** Servers that know several dates mostly know those before too: the oldest comes second, for a child is started twice without a long rest. */
const DATES_OF_LIVES = ['2025-06-18', '2024-11-05', '2025-03-26'] as const;
const DATE = /\b20\d\d-\d\d-\d\d\b/g;
const OF_PROTOCOL = /protocol|version/i;

export class OpeningMemory {
  readonly #clock: Clock;
  readonly #hash: () => string;
  readonly #before: () => LearnedOpening | undefined;
  #learned: (Offer & { readonly atMs: number; readonly of: string }) | undefined;
  #isRead = false;
  /** Offered, and not answered yet. */
  #pending: Offer | undefined;
  /** Dates at which the process has exited, in lives without an answer between them. */
  #exits: readonly string[] = []; // bounded by: the dates of the era
  /** Dates that it named when it exited. */
  #named: readonly string[] = []; // bounded by: the last lines of its stderr
  /** An exit told nothing of the protocol: the next life begins with the newest date, to see whether that was the reason. */
  #isDoubtful = false;

  /** `hash` = of the settings of the server; `before` = what an earlier process has learned. */
  constructor(clock: Clock, hash: () => string, before: () => LearnedOpening | undefined) {
    this.#clock = clock;
    this.#hash = hash;
    this.#before = before;
  }

  /** What is offered first. */
  get first(): Offer {
    const next = this.#afterExits();
    if (next !== undefined) return { date: next, hasHeader: false };
    const learned = this.#valid();
    return learned && !this.#isDoubtful ? learned : { date: LATEST_2025, hasHeader: false };
  }

  /** To be kept for the next process; undefined = it is initialized as usual, or that is not certain. */
  get learned(): LearnedOpening | undefined {
    const learned = this.#valid();
    if (!learned || this.#isDoubtful) return undefined;
    return { date: learned.date, hasHeader: learned.hasHeader, of: learned.of };
  }

  /** It is about to be offered. */
  offers(offer: Offer): void {
    this.#pending = offer;
  }

  /** The offer was refused. */
  refused(): void {
    this.#pending = undefined;
    this.#exits = [];
  }

  accepted(offer: Offer): void {
    this.#pending = undefined;
    const isUsual = offer.date === LATEST_2025 && !offer.hasHeader;
    const isOfExits = this.#exits.length > 0;
    // What was learned from a refusal, or from exits that said why or have come twice, is certain.
    const wasDoubted = this.#isDoubtful;
    this.#isDoubtful = isOfExits && !isUsual && !wasDoubted && this.#named.length === 0;
    this.#exits = [];
    this.#named = [];
    this.#isRead = true;
    this.#learned = isUsual
      ? undefined
      : { ...offer, atMs: this.#valid()?.atMs ?? this.#clock.nowMs(), of: this.#hash() };
  }

  /** The server says that it is another program, or another version of it, than it was. */
  changed(before: InitializeResult | undefined, now: InitializeResult): void {
    if (!before || (before.name === now.name && before.serverVersion === now.serverVersion)) return;
    this.#learned = undefined;
    this.#isDoubtful = false;
  }

  /** A life has ended. */
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
    // None of them was the reason.
    if (this.#afterExits() === undefined) this.#forget();
  }

  #forget(): void {
    this.#exits = [];
    this.#named = [];
    this.#learned = undefined;
    this.#isDoubtful = false;
  }

  /** Undefined = no life has exited at an offer, or at all of them. */
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
