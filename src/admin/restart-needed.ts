/**
 * Which limits of the configuration wait for a restart, and of what.
 */
import { HUB_LIMITS, LIMIT_NAMES } from '../config/limits.ts';

/** Limits of the configuration that take effect later; both lists are empty when all are in effect. */
export interface RestartNeeded {
  /** Limits that a worker takes when it is replaced (SIGUSR2). */
  readonly workers: readonly string[];
  /** Limits that take effect when the hub is started again. */
  readonly hub: readonly string[];
}

/** Sorts the limits that any worker waits for by the restart that they need. */
export function restartNeeded(reports: readonly { readonly awaitingRestart: readonly string[] }[]): RestartNeeded {
  const awaited = new Set(reports.flatMap(({ awaitingRestart }) => awaitingRestart));
  const limits = LIMIT_NAMES.filter((name) => awaited.has(name));
  return {
    workers: limits.filter((name) => !HUB_LIMITS.has(name)),
    hub: limits.filter((name) => HUB_LIMITS.has(name)),
  };
}
