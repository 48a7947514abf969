/**
 * Circuit breaker of one server. Closed: calls pass. Open: calls are refused at once; after a backoff one background
 * probe is allowed, and its result closes the breaker or doubles the backoff. Users' calls are never used as probes,
 * and failures of one key do not count while calls of another succeed. The owner calls `mayProbe`, sends the probe and
 * reports its result.
 * Guarantees: pure; time is a parameter; even if results come late, twice or never, the next probe is allowed after at
 * most `capMs` plus the lease.
 */
import { backoffMs } from '../runtime/backoff.ts';
import { CallWindow } from './call-window.ts';

export interface BreakerOptions {
  /** Consecutive failures that open it. */
  readonly failures: number;
  /** First backoff in ms. */
  readonly openMs: number;
  /** Longest backoff in ms. */
  readonly capMs: number;
  /** Time in ms after which a probe without a result counts as failed. */
  readonly leaseMs: number;
  readonly random: () => number;
}

export type BreakerState = 'closed' | 'open' | 'half-open';

/** Rate rules: the share that failed, or took far longer than usual, of at least this many calls in the last 30 s. */
const RATE = 0.5;
const SLOW_RATE = 0.8;
const RATE_CALLS = 20;

/** Time in ms for which a success of another key shows that the server works. */
const WELL_MS = 30_000;

/** Time of the last successful call, for the key that made it and for all others. */
class RecentSuccesses {
  #key: string | undefined;
  #atMs = Number.NEGATIVE_INFINITY;
  /** Time of the last success of any other key. */
  #otherMs = Number.NEGATIVE_INFINITY;

  well(key: string, nowMs: number): void {
    if (key !== this.#key) this.#otherMs = this.#atMs;
    this.#key = key;
    this.#atMs = nowMs;
  }

  /** Returns true when a call of another key succeeded recently. */
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
  /** The key whose call was the first of the consecutive failures. */
  #inRow: string | undefined;
  /** True when the failures come from several keys. */
  #isMixed = false;
  #isDoubted = false;

  constructor(options: BreakerOptions) {
    this.#options = options;
  }

  get state(): BreakerState {
    return this.#state;
  }

  /** Returns false when this call must be refused. */
  allows(): boolean {
    return this.#state === 'closed';
  }

  /** Returns the time in ms until a probe is allowed; 0 when it is now. */
  restMs(nowMs: number): number {
    return this.#state === 'closed' ? 0 : Math.max(0, this.#until - nowMs);
  }

  /**
   * Records a successful call that took `tookMs`; undefined when the time is not meaningful (a user was asked). Does
   * not affect an open breaker, because the call was sent before it opened. Returns true when this opened the breaker,
   * because nearly all calls have become far too slow.
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

  /**
   * Records a failed call that counts against the server. Returns true when this opened the breaker. `isCertain` is
   * false when the failure is not conclusive.
   */
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

  /**
   * True when there are enough failures but none is conclusive: the owner probes the server, then calls `trip` or
   * `excuse`.
   */
  get isDoubted(): boolean {
    return this.#isDoubted;
  }

  /**
   * Records that the server did not answer the probe. Returns true when this opened the breaker; false when a call
   * succeeded meanwhile, or it is open already.
   */
  trip(nowMs: number): boolean {
    if (this.#state !== 'closed' || !this.#isDoubted) return false;
    this.#open(nowMs);
    return true;
  }

  /** Records that the server answered: the failures do not count. */
  excuse(): void {
    this.#forgetRow();
    this.#window.clear();
  }

  /** Opens the breaker for `ms` because the server asked for a pause. Returns true when this opened it. */
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

  /** Returns a lease for one probe, or undefined. An expired lease is replaced by the next. */
  mayProbe(nowMs: number): number | undefined {
    if (this.#state === 'closed' || nowMs < this.#until) return undefined;
    this.#state = 'half-open';
    this.#until = nowMs + this.#options.leaseMs;
    this.#lease += 1;
    return this.#lease;
  }

  /**
   * Records the result of a probe. A success on an old lease still closes the breaker, because the server works; a
   * failure on one changes nothing. Returns true when this closed the breaker.
   */
  probed(lease: number, ok: boolean, nowMs: number): boolean {
    if (this.#state === 'closed') return false;
    if (ok) {
      this.reset();
      return true;
    }
    if (lease === this.#lease && this.#state === 'half-open') this.#open(nowMs);
    return false;
  }

  /** Closes the breaker, because an operator or a new connection showed that the server works. */
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
