/**
 * How long a link rests before it tries again.
 * Promises: for ever with rests of at most `restartCapMs`, so that a server is back at most 65 s after it is well; a child that dies again and again is started
 * at most 8 times in 5 minutes (reliability.md B7, P15).
 */
import type { Limits } from '../config/limits.ts';
import { backoffMs } from '../kernel/backoff.ts';

export type LinkKind = 'local' | 'remote' | 'forward';

/** Quick tries of a child before it gets the longest rest each time. */
const QUICK_TRIES = 2;
/** A sibling hub is asked over a local socket: cheap, and back within a second or two after a restart. */
const FORWARD_CAP_MS = 2000;

/** `failures` = lives in a row that failed or ended early, from 1. */
export function restMs(kind: LinkKind, failures: number, limits: Limits, random: () => number): number {
  const { restartBaseMs: baseMs, restartCapMs: capMs } = limits;
  if (kind === 'local' && failures > QUICK_TRIES) return Math.round(capMs * (0.9 + 0.1 * random()));
  return backoffMs(failures, { baseMs, capMs: kind === 'forward' ? Math.min(capMs, FORWARD_CAP_MS) : capMs }, random);
}
