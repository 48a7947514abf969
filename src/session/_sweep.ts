/**
 * Drops what is over from large maps, now and then.
 * Promises: a turn of the loop looks at 10,000 entries at most (about 1 ms); a sweep ends, also while entries come and go under it.
 */
import type { Timers } from '../kernel/clock.ts';

const SWEEP_MS = 60_000;
const JITTER = 0.1;
const SLICE = 10_000;
const NEXT_SLICE_MS = 5;

export interface Sweepable<V> {
  readonly size: number;
  entries(): IterableIterator<[string, V]>;
  delete(key: string): boolean;
}

export interface Swept {
  /** Starts a round over this map. */
  drop<V>(map: Sweepable<V>, isOver: (value: V) => boolean): void;
}

/** Calls `round` about once a minute. Disposing stops it, also in the middle of a round. */
export function sweepEveryMinute(timers: Timers, round: (swept: Swept) => void): Disposable {
  let stopped = false;

  function drop<V>(map: Sweepable<V>, isOver: (value: V) => boolean): void {
    const entries = map.entries();
    const slice = (left: number): void => {
      for (let some = Math.min(left, SLICE); some > 0; some -= 1) {
        const next = entries.next();
        if (next.done) return;
        if (isOver(next.value[1])) map.delete(next.value[0]);
      }
      if (left > SLICE)
        timers.after(NEXT_SLICE_MS, () => {
          if (!stopped) slice(left - SLICE);
        });
    };
    slice(map.size);
  }

  const ticking = timers.every(SWEEP_MS, () => round({ drop }), JITTER);
  return {
    [Symbol.dispose]() {
      stopped = true;
      ticking[Symbol.dispose]();
    },
  };
}
