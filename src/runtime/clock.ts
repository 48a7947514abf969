/**
 * Time as a parameter: everything that needs the current time or a timer gets it from here, so that a test can freeze
 * it.
 * Guarantees: `nowMs` is monotonic. `wallMs` follows the calendar and may jump; use it only for display and expiry
 * dates. Timers of waits are in `timer-wheel.ts`.
 */
export interface Clock {
  /** Returns monotonic milliseconds since an arbitrary start; only differences are meaningful. */
  nowMs(): number;
  /** Returns milliseconds since 1970 by the system clock. */
  wallMs(): number;
}

export const systemClock: Clock = {
  nowMs: () => performance.now(),
  wallMs: () => Date.now(),
};

/** The only access to Node's timers. `unref`ed timers do not keep a process alive. */
export interface Timers {
  /** Runs `fn` once after `ms`. Disposing stops it. */
  after(ms: number, fn: () => void): Disposable;
  /** Runs `fn` every `ms`, read anew each time, varied by `jitter` (a fraction: 0.1 = ±10 %). Disposing stops it. */
  every(ms: number | (() => number), fn: () => void, jitter?: number): Disposable;
  /**
   * Runs `fn` once after the sockets that are ready now, before the loop polls again. Keeps the process alive until
   * then.
   */
  afterInput(fn: () => void): void;
  /**
   * Runs the periodic timers that are late. For callers that handle input: Node serves up to 48 × 1,024 ready sockets
   * before it runs a timer. Costs one comparison unless `LATE_MS` have passed since the last check.
   */
  runLate(nowMs: number): void;
}

/** Longest delay that a Node timer accepts; a longer one would fire at once. */
const MAX_TIMER_MS = 2 ** 31 - 1;
/** Lateness from which a periodic timer is run from the input path; twice the tick of the timer wheel. */
const LATE_MS = 50;

interface Periodic {
  dueMs: number;
  run(): void;
}

/** Creates timers on Node's own. Create one per process: `runLate` knows only the timers created here. */
export function createSystemTimers(): Timers {
  const periodic = new Set<Periodic>(); // bounded by: periodic tasks of the modules, and open heartbeat streams
  let lookedMs = Number.NEGATIVE_INFINITY;

  return {
    after(ms, fn) {
      const timer = setTimeout(fn, Math.min(Math.max(ms, 0), MAX_TIMER_MS));
      timer.unref();
      return { [Symbol.dispose]: () => clearTimeout(timer) };
    },
    every(ms, fn, jitter = 0) {
      let timer: NodeJS.Timeout | undefined;
      const task: Periodic = {
        dueMs: 0,
        run() {
          arm();
          fn();
        },
      };
      function arm(): void {
        clearTimeout(timer);
        const everyMs = typeof ms === 'number' ? ms : ms();
        const restMs = Math.min(everyMs * (1 + jitter * (Math.random() * 2 - 1)), MAX_TIMER_MS);
        task.dueMs = performance.now() + restMs;
        timer = setTimeout(task.run, restMs);
        timer.unref();
      }
      arm();
      periodic.add(task);
      return {
        [Symbol.dispose]() {
          clearTimeout(timer);
          periodic.delete(task);
        },
      };
    },
    afterInput(fn) {
      setImmediate(fn);
    },
    runLate(nowMs) {
      if (nowMs - lookedMs < LATE_MS) return;
      lookedMs = nowMs;
      for (const task of periodic) if (nowMs - task.dueMs >= LATE_MS) task.run();
    },
  };
}
