/**
 * Gives a failing server a rest. What fails for one key only, while calls of another go well, does not count. Closed: calls pass. Open: they are refused at once. When the rest is over one background question is asked,
 * on a lease; its answer closes the breaker or doubles the rest. A user's call is never the guinea pig.
 * Promises: pure; time is a parameter; whatever settles late, twice or never, the breaker is asked again after at most `capMs` plus the lease.
 * Does not: ask. Its owner calls `mayProbe`, asks, and says what came of it.
 */
import { backoffMs } from '../runtime/backoff.ts';
import { CallWindow } from './call-window.ts';

export interface BreakerOptions {
  /** Failures in a row that open it. */
  readonly failures: number;
  /** First rest, ms. */
  readonly openMs: number;
  /** Longest rest, ms. */
  readonly capMs: number;
  /** A question without an answer for this long counts as failed. */
  readonly leaseMs: number;
  readonly random: () => number;
}

export type BreakerState = 'closed' | 'open' | 'half-open';

/** The rate rules: this share of at least so many calls of the last half minute failed, or took far longer than usual. */
const RATE = 0.5;
const SLOW_RATE = 0.8;
const RATE_CALLS = 20;

/** A success of another key within this time says that the server is well. */
const WELL_MS = 30_000;

/** When a call last went well, for the key whose call it was and for another one. */
class RecentSuccesses {
  #key: string | undefined;
  #atMs = Number.NEGATIVE_INFINITY;
  /** The last one of any other key. */
  #otherMs = Number.NEGATIVE_INFINITY;

  well(key: string, nowMs: number): void {
    if (key !== this.#key) this.#otherMs = this.#atMs;
    this.#key = key;
    this.#atMs = nowMs;
  }

  /** True when a call of another key went well a moment ago. */
  isWellForOthers(key: string, nowMs: number): boolean {
    return nowMs - (key === this.#key ? this.#otherMs : this.#atMs) <= WELL_MS;
  }

  clear(): void {
    this.#key = undefined;
    this.#atMs = this.#otherMs = Number.NEGATIVE_INFINITY;
  }
}

export class Breaker {
  readonly #options: BreakerOptions;
  #state: BreakerState = 'closed';
  #row = 0;
  #trips = 0;
  #until = 0;
  #lease = 0;
  readonly #window = new CallWindow();
  readonly #goes = new RecentSuccesses();
  /** The key whose call was the first of the failures in a row. */
  #inRow: string | undefined;
  /** They are of several keys. */
  #isMixed = false;
  #isDoubted = false;

  constructor(options: BreakerOptions) {
    this.#options = options;
  }

  get state(): BreakerState {
    return this.#state;
  }

  /** False = refuse this call. */
  allows(): boolean {
    return this.#state === 'closed';
  }

  /** ms until a question may be asked; 0 = now. */
  restMs(nowMs: number): number {
    return this.#state === 'closed' ? 0 : Math.max(0, this.#until - nowMs);
  }

  /**
   * A call went well, in `tookMs`; undefined = its length says nothing (a person was asked). Says nothing about an open breaker: it was sent
   * before that. True = this opened the breaker, for nearly all calls have become far too slow.
   */
  succeeded(nowMs: number, tookMs: number | undefined, key = '', isCertain = true): boolean {
    if (this.#state !== 'closed') return false;
    const { slowMs } = this.#window;
    const isSlow = tookMs !== undefined && slowMs !== undefined && tookMs > slowMs;
    this.#forgetRow();
    if (isSlow && this.#goes.isWellForOthers(key, nowMs)) return false;
    this.#window.note(nowMs, false, tookMs);
    if (!isSlow) this.#goes.well(key, nowMs);
    if (!isSlow) return false;
    const { calls, slow } = this.#window.shares(nowMs);
    if (calls < RATE_CALLS || slow < SLOW_RATE) return false;
    return this.#full(nowMs, isCertain);
  }

  /** A call failed for a reason that speaks against the server. True = this opened the breaker. `isCertain`: false = it is only doubted. */
  failed(nowMs: number, key = '', isCertain = true): boolean {
    if (this.#state !== 'closed') return false;
    if (this.#inRow === undefined) this.#inRow = key;
    else if (this.#inRow !== key) this.#isMixed = true;
    if (!this.#isMixed && this.#goes.isWellForOthers(key, nowMs)) return false;
    this.#row += 1;
    this.#window.note(nowMs, true, undefined);
    const { calls, failed } = this.#window.shares(nowMs);
    const tooMany = calls >= RATE_CALLS && failed >= RATE;
    if (this.#row < this.#options.failures && !tooMany) return false;
    return this.#full(nowMs, isCertain);
  }

  /** There are failures enough, and none of them is proof: its owner asks the server, and calls `trip` or `excuse`. */
  get isDoubted(): boolean {
    return this.#isDoubted;
  }

  /** The server did not answer. True = this opened the breaker; false = a call went well meanwhile, or it is open. */
  trip(nowMs: number): boolean {
    if (this.#state !== 'closed' || !this.#isDoubted) return false;
    this.#open(nowMs);
    return true;
  }

  /** The server answered: what failed does not count. */
  excuse(): void {
    this.#forgetRow();
    this.#window.clear();
  }

  /** The server asks to be left alone for `ms`. True = this opened the breaker. */
  pause(nowMs: number, ms: number): boolean {
    if (this.#state !== 'closed') return false;
    this.#open(nowMs);
    this.#until = nowMs + ms;
    return true;
  }

  #full(nowMs: number, isCertain: boolean): boolean {
    if (isCertain) this.#open(nowMs);
    else this.#isDoubted = true;
    return isCertain;
  }

  /** A lease to ask one question, or undefined. A lease that ran out is replaced by the next. */
  mayProbe(nowMs: number): number | undefined {
    if (this.#state === 'closed' || nowMs < this.#until) return undefined;
    this.#state = 'half-open';
    this.#until = nowMs + this.#options.leaseMs;
    this.#lease += 1;
    return this.#lease;
  }

  /** What came of the question. An answer on an old lease still closes (the server lives); a failure on one changes nothing. True = it closed. */
  probed(lease: number, ok: boolean, nowMs: number): boolean {
    if (this.#state === 'closed') return false;
    if (ok) {
      this.reset();
      return true;
    }
    if (lease === this.#lease && this.#state === 'half-open') this.#open(nowMs);
    return false;
  }

  /** A person, or a fresh connection, says that all is well. */
  reset(): void {
    this.#state = 'closed';
    this.#forgetRow();
    this.#trips = 0;
    this.#window.clear();
  }

  #forgetRow(): void {
    this.#row = 0;
    this.#isDoubted = false;
    this.#inRow = undefined;
    this.#isMixed = false;
  }

  #open(nowMs: number): void {
    this.#trips += 1;
    this.#state = 'open';
    this.#until =
      nowMs +
      backoffMs(this.#trips, { baseMs: this.#options.openMs, capMs: this.#options.capMs }, this.#options.random);
    this.#forgetRow();
    this.#window.clear();
    this.#goes.clear();
  }
}
