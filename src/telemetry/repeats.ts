/**
 * Keeps a storm of the same warning from drowning the log: one line a second of each kind, and then how many were left out.
 * Promises: at most MAX_KINDS kinds are remembered (the oldest is forgotten, its count with it); nothing left out goes untold for more than
 * a second while `sweep` is called.
 * Does not: touch lines at info or below.
 */
import { CappedMap, type ContainerLimits } from '../runtime/capped.ts';
import type { Clock } from '../runtime/clock.ts';

const WINDOW_MS = 1000;
const MAX_KINDS = 256;

interface Kind<T> {
  saidMs: number;
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

  /** True = say it now; false = it was counted. */
  allows(sameness: string, what: T): boolean {
    const nowMs = this.#clock.nowMs();
    const kind = this.#kinds.get(sameness);
    if (kind === undefined) {
      this.#kinds.set(sameness, { saidMs: nowMs, leftOut: 0, last: what });
      return true;
    }
    kind.last = what;
    // What was left out before is told by `sweep`, so that the count has one place.
    if (nowMs - kind.saidMs < WINDOW_MS || kind.leftOut > 0) {
      kind.leftOut += 1;
      return false;
    }
    kind.saidMs = nowMs;
    return true;
  }

  /** Once a second: tells the latest of each kind with the number left out (itself included), and forgets kinds that are quiet. */
  sweep(tell: (last: T, count: number) => void): void {
    const nowMs = this.#clock.nowMs();
    for (const [sameness, kind] of this.#kinds.entries()) {
      if (nowMs - kind.saidMs < WINDOW_MS) continue;
      if (kind.leftOut === 0) this.#kinds.delete(sameness);
      else {
        const count = kind.leftOut;
        kind.leftOut = 0;
        kind.saidMs = nowMs;
        tell(kind.last, count);
      }
    }
  }
}
