/**
 * How long to rest before the next try: exponential with full jitter, so that many who failed together do not come back together.
 * Source: AWS Builders' Library, "Timeouts, retries and backoff with jitter".
 */
export interface BackoffRule {
  /** Rest after the first failure, before jitter, in ms. */
  readonly baseMs: number;
  /** Longest rest, in ms. */
  readonly capMs: number;
}

/** Rest before try number `attempt` (1 = after the first failure), between half the step and the whole step. `random` in [0, 1). */
export function backoffMs(attempt: number, rule: BackoffRule, random: () => number): number {
  const stepMs = Math.min(rule.capMs, rule.baseMs * 2 ** Math.min(Math.max(attempt - 1, 0), 30));
  return Math.round(stepMs / 2 + (stepMs / 2) * random());
}
