/**
 * Tells stop requests from repetitions: Ctrl-C and some process managers signal the whole process group, and npm, which
 * is in it, forwards the signal, so that one request arrives twice.
 * Guarantees: signals within `REPEAT_MS` of the first are one request; a later one is another.
 */

/** Longer than npm takes to forward a signal, shorter than a person waits before pressing Ctrl-C again. */
export const REPEAT_MS = 500;

/**
 * Returns a function to call for each signal; it calls `asked` for those that do not repeat the first. `nowMs` is a
 * monotonic clock.
 */
export function stopRequests<S>(asked: (signal: S) => void, nowMs: () => number): (signal: S) => void {
  let firstMs: number | undefined;
  return (signal) => {
    if (firstMs !== undefined && nowMs() - firstMs < REPEAT_MS) return;
    firstMs ??= nowMs();
    asked(signal);
  };
}
