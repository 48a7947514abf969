/**
 * Limits retries to one server to a tenth of the requests, so that a failing server does not get twice the load. The
 * caller decides what may be retried at all (only requests that were certainly not executed, or that change nothing).
 * Guarantees: pure; a few retries are always allowed; a retry beyond the budget fails at once.
 * Source: gRPC retryThrottling; Google SRE (at most 10 % and one retry per request).
 */
const EARNED = 0.1;
const MOST = 10;

export class RetryBudget {
  #tokens = MOST;

  /** Records a first attempt. */
  sent(): void {
    this.#tokens = Math.min(MOST, this.#tokens + EARNED);
  }

  /** Takes one retry from the budget. Returns false when it is used up. */
  take(): boolean {
    if (this.#tokens < 1) return false;
    this.#tokens -= 1;
    return true;
  }
}
