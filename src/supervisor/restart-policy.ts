/**
 * Decides when a process that exited is started again, and when one that uses too much memory is replaced. Pure state,
 * no clock of its own.
 */

/** Polls in a row above the limit: after fewer, a garbage collection may be about to run. */
const POLLS_ABOVE = 3;
/** A replacement that failed, or leaks as well, is followed by the next one only after this. */
const NEXT_REPLACEMENT_MS = 60_000;

/**
 * Tells when a process stays above its memory limit. Asked at each poll; answers true once, and again after a minute.
 */
export class MemoryLimit {
  #above = 0;
  #quietUntilMs = 0;

  isExceeded(rssBytes: number, limitBytes: number, nowMs: number): boolean {
    this.#above = rssBytes > limitBytes ? this.#above + 1 : 0;
    if (this.#above < POLLS_ABOVE || nowMs < this.#quietUntilMs) return false;
    this.#quietUntilMs = nowMs + NEXT_REPLACEMENT_MS;
    return true;
  }

  /** Starts over, for the replacement. */
  reset(): void {
    this.#above = 0;
    this.#quietUntilMs = 0;
  }
}

/** A process that ran for this long is stable; also the window in which exits are counted. */
const STABLE_MS = 60_000;
const MAX_DELAY_MS = 30_000;

export interface RestartLimits {
  /** Exits within a minute that are followed by a restart without delay. */
  readonly restarts: number;
  /** First delay after more exits, ms. */
  readonly guardBackoffMs: number;
}

/**
 * Delay before the next start of one process: none at first, then growing up to 30 s and staying there until an
 * instance ran for a minute.
 */
export class RestartBackoff {
  readonly #limits: RestartLimits;
  #exitsMs: number[] = []; // bounded by: limits.restarts and one
  /** Delays in a row; 0 = no crash loop. */
  delays = 0;

  constructor(limits: RestartLimits) {
    this.#limits = limits;
  }

  /**
   * Returns the delay in ms after an exit at `nowMs` of an instance that ran for `ranMs`. `random` in [0, 1) shortens
   * it by up to a quarter.
   */
  next(nowMs: number, ranMs: number, random: number): number {
    const { restarts, guardBackoffMs } = this.#limits;
    if (ranMs >= STABLE_MS) {
      this.delays = 0;
      this.#exitsMs = [];
    }
    this.#exitsMs = [...this.#exitsMs.filter((atMs) => nowMs - atMs < STABLE_MS), nowMs].slice(-restarts - 1);
    if (this.delays === 0 && this.#exitsMs.length <= restarts) return 0;
    this.delays += 1;
    const stepMs = Math.min(MAX_DELAY_MS, guardBackoffMs * 2 ** (this.delays - 1));
    return Math.round(stepMs * (1 - random / 4));
  }
}
