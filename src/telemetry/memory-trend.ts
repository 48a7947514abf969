/**
 * Computes the memory trend of a process: the peak, and the slope over the last 15 minutes.
 * Guarantees: pure; at most `MOST` samples; a slope from five samples on.
 */
const MOST = 15;
const LEAST = 5;
const HOUR_MS = 3_600_000;
const MIB = 2 ** 20;

export class MemoryTrend {
  #samples: readonly { readonly atMs: number; readonly mb: number }[] = []; // bounded by: MOST
  peakBytes = 0;

  note(atMs: number, rssBytes: number): void {
    this.#samples = [...this.#samples.slice(1 - MOST), { atMs, mb: rssBytes / MIB }];
    this.peakBytes = Math.max(this.peakBytes, rssBytes);
  }

  /** MB per hour by least squares; undefined when there are too few samples. */
  get slope(): number | undefined {
    const { length } = this.#samples;
    if (length < LEAST) return undefined;
    const meanAt = this.#samples.reduce((sum, { atMs }) => sum + atMs, 0) / length;
    const meanMb = this.#samples.reduce((sum, { mb }) => sum + mb, 0) / length;
    const over = this.#samples.reduce((sum, { atMs, mb }) => sum + (atMs - meanAt) * (mb - meanMb), 0);
    const under = this.#samples.reduce((sum, { atMs }) => sum + (atMs - meanAt) ** 2, 0);
    return under === 0 ? 0 : Math.round((over / under) * HOUR_MS * 10) / 10;
  }
}
