/**
 * Tells requests to stop from repetitions. Ctrl-C and some process managers signal the whole process group, and npm, which is in it, passes the signal on:
 * one request arrives twice. Guarantees: signals within `REPEAT_MS` of the first are one request; each later one is another.
 */

/** Longer than npm takes to pass a signal on, shorter than a person takes to lose patience. */
export const REPEAT_MS = 500;

/** Returns what is to be called for each signal; it calls `asked` for those that are no repetition of the first. `nowMs` = a monotonic clock. */
export function stopRequests<S>(asked: (signal: S) => void, nowMs: () => number): (signal: S) => void {
  let firstMs: number | undefined;
  return (signal) => {
    if (firstMs !== undefined && nowMs() - firstMs < REPEAT_MS) return;
    firstMs ??= nowMs();
    asked(signal);
  };
}
