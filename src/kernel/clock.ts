/**
 * Time, as a parameter. Everything that needs "now" or "later" gets it from here, so that a test can freeze it.
 * Promises: `nowMs` never goes backwards (monotonic); `wallMs` is the calendar and may jump, so it is only for people and expiry dates.
 * Does not: hold timers that belong to waits; those live in `wheel.ts`.
 */
export interface Clock {
  /** Monotonic milliseconds since an arbitrary start; differences only. */
  nowMs(): number;
  /** Milliseconds since 1970 by the system's calendar. */
  wallMs(): number;
}

export const systemClock: Clock = {
  nowMs: () => performance.now(),
  wallMs: () => Date.now(),
};

/** The only door to the runtime's timers. `unref`ed timers do not keep a process alive. */
export interface Timers {
  /** Runs `fn` once after `ms`. Disposing stops it. */
  after(ms: number, fn: () => void): Disposable;
  /** Runs `fn` every `ms`, give or take `jitter` (a share, 0.1 = ±10 %). Disposing stops it. */
  every(ms: number, fn: () => void, jitter?: number): Disposable;
}

/** Longest delay a Node timer takes; longer ones would fire at once. */
const MAX_TIMER_MS = 2 ** 31 - 1;

export const systemTimers: Timers = {
  after(ms, fn) {
    const timer = setTimeout(fn, Math.min(Math.max(ms, 0), MAX_TIMER_MS));
    timer.unref();
    return { [Symbol.dispose]: () => clearTimeout(timer) };
  },
  every(ms, fn, jitter = 0) {
    let timer = setTimeout(run, nextMs());
    timer.unref();
    function nextMs(): number {
      return Math.min(ms * (1 + jitter * (Math.random() * 2 - 1)), MAX_TIMER_MS);
    }
    function run(): void {
      timer = setTimeout(run, nextMs());
      timer.unref();
      fn();
    }
    return { [Symbol.dispose]: () => clearTimeout(timer) };
  },
};
