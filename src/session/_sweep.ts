/**
 * Removes expired entries from large maps once a minute.
 * Guarantees: at most 10,000 entries (about 1 ms) in one turn of the event loop; a sweep ends even while entries are
 * added and removed.
 */
import type { Timers } from '../runtime/clock.ts';

const SWEEP_MS = 60_000;
const JITTER = 0.1;
const SLICE = 10_000;
const NEXT_SLICE_MS = 5;

export interface Sweepable<V> {
  readonly size: number;
  entries(): IterableIterator<[string, V]>;
  delete(key: string): boolean;
}

export interface Sweeper {
  /** Sweeps one map, in slices. */
  sweep<V>(map: Sweepable<V>, isExpired: (value: V) => boolean): void;
}

/** Calls `round` about once a minute. Disposing stops it, also during a round. */
export function sweepEveryMinute(timers: Timers, round: (swept: Sweeper) => void): Disposable {
  let stopped = false;

  function sweep<V>(map: Sweepable<V>, isExpired: (value: V) => boolean): void {
    const entries = map.entries();
    const slice = (left: number): void => {
      for (let remaining = Math.min(left, SLICE); remaining > 0; remaining -= 1) {
        const next = entries.next();
        if (next.done) return;
        if (isExpired(next.value[1])) map.delete(next.value[0]);
      }
      if (left > SLICE)
        timers.after(NEXT_SLICE_MS, () => {
          if (!stopped) slice(left - SLICE);
        });
    };
    slice(map.size);
  }

  const ticking = timers.every(SWEEP_MS, () => round({ sweep }), JITTER);
  return {
    [Symbol.dispose]() {
      stopped = true;
      ticking[Symbol.dispose]();
    },
  };
}
