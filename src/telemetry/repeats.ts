/**
 * Keeps repeated warnings from flooding the log: one line per second and kind, then the number of those left out.
 * Guarantees: at most MAX_KINDS kinds are tracked (the oldest is dropped with its count); suppressed lines are reported
 * within a second while `sweep` is called. Lines at info or below are not affected.
 */
import { CappedMap, type ContainerLimits } from '../runtime/capped.ts';
import type { Clock } from '../runtime/clock.ts';

const WINDOW_MS = 1000;
const MAX_KINDS = 256;

interface Kind<T> {
  loggedMs: number;
  leftOut: number;
  last: T;
}

export class Repeats<T> {
  readonly #clock: Clock;
  readonly #kinds: CappedMap<string, Kind<T>>;

  constructor(clock: Clock, ceilings: ContainerLimits) {
    this.#clock = clock;
    this.#kinds = new CappedMap<string, Kind<T>>('telemetry.repeats', MAX_KINDS, 'drop-oldest', ceilings);
  }

  /** Returns true when the line may be written, false when it was counted. */
  allows(sameness: string, what: T): boolean {
    const nowMs = this.#clock.nowMs();
    const kind = this.#kinds.get(sameness);
    if (kind === undefined) {
      this.#kinds.set(sameness, { loggedMs: nowMs, leftOut: 0, last: what });
      return true;
    }
    kind.last = what;
    // `sweep` reports what was suppressed, so that only one place counts.
    if (nowMs - kind.loggedMs < WINDOW_MS || kind.leftOut > 0) {
      kind.leftOut += 1;
      return false;
    }
    kind.loggedMs = nowMs;
    return true;
  }

  /**
   * Runs once a second: reports the latest line of each kind with the number suppressed (including itself), and drops
   * kinds that are quiet.
   */
  sweep(report: (last: T, count: number) => void): void {
    const nowMs = this.#clock.nowMs();
    for (const [sameness, kind] of this.#kinds.entries()) {
      if (nowMs - kind.loggedMs < WINDOW_MS) continue;
      if (kind.leftOut === 0) this.#kinds.delete(sameness);
      else {
        const count = kind.leftOut;
        kind.leftOut = 0;
        kind.loggedMs = nowMs;
        report(kind.last, count);
      }
    }
  }
}
