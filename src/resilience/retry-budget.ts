/**
 * How much of what is sent to one server may be sent a second time: a tenth, so that a server in trouble is not asked twice as much.
 * Promises: pure; a few are always allowed; what the budget refuses is an error at once.
 * Does not: decide what may be sent twice at all (only what was surely not executed, or changes nothing).
 * Source: reliability.md §3 (gRPC retryThrottling, Google SRE: at most 10 % and one retry a request).
 */
const EARNED = 0.1;
const MOST = 10;

export class RetryBudget {
  #tokens = MOST;

  /** Something was sent for the first time. */
  sent(): void {
    this.#tokens = Math.min(MOST, this.#tokens + EARNED);
  }

  /** True = it may be sent once more. */
  take(): boolean {
    if (this.#tokens < 1) return false;
    this.#tokens -= 1;
    return true;
  }
}
