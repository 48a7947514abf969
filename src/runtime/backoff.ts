/**
 * Delay before the next attempt: exponential backoff with full jitter, so that callers that failed together do not
 * retry together.
 * Source: AWS Builders' Library, "Timeouts, retries and backoff with jitter".
 */
export interface BackoffRule {
  /** Delay after the first failure, before jitter, in ms. */
  readonly baseMs: number;
  /** Longest delay, in ms. */
  readonly capMs: number;
}

/**
 * Returns the delay in ms before attempt number `attempt` (1 = after the first failure): between half the step and the
 * whole step. `random` returns values in [0, 1).
 */
export function backoffMs(attempt: number, rule: BackoffRule, random: () => number): number {
  const stepMs = Math.min(rule.capMs, rule.baseMs * 2 ** Math.min(Math.max(attempt - 1, 0), 30));
  return Math.round(stepMs / 2 + (stepMs / 2) * random());
}
