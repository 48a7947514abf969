/**
 * Counts the calls of the last 30 s for a breaker: all, failed, and far slower than usual for this server.
 * Guarantees: pure; time is a parameter; six buckets for any number of calls; the usual time is learned from the last
 * 128 successful calls, and single slow calls do not raise it while others are fast.
 * Source: resilience4j's slow-call rate, Envoy's outlier detection; ADR 0012.
 */
const BUCKET_MS = 5000;
const BUCKETS = 6;
const KEPT = 128;
/** Successful calls after which the usual time is considered known. */
const LEARNED = 32;
const SLOW_FACTOR = 5;
/** Calls shorter than this (ms) never count as slow. */
const SLOW_FLOOR_MS = 1000;

interface Bucket {
  at: number;
  calls: number;
  failed: number;
  slow: number;
}

export class CallWindow {
  // bounded by: BUCKETS
  readonly #buckets: Bucket[] = Array.from({ length: BUCKETS }, () => ({ at: -1, calls: 0, failed: 0, slow: 0 }));
  // bounded by: KEPT
  readonly #took = new Float64Array(KEPT);
  #known = 0;
  #slowMs: number | undefined;

  /** Records a call. `tookMs` is undefined when it failed, or when its time is not meaningful. */
  note(nowMs: number, failed: boolean, tookMs: number | undefined): void {
    const bucket = this.#bucket(nowMs);
    bucket.calls += 1;
    if (failed) bucket.failed += 1;
    if (tookMs === undefined) return;
    if (this.#slowMs !== undefined && tookMs > this.#slowMs) bucket.slow += 1;
    else this.#learn(tookMs);
  }

  /** Returns the shares over the last 30 s. */
  shares(nowMs: number): { calls: number; failed: number; slow: number } {
    const oldest = Math.floor(nowMs / BUCKET_MS) - BUCKETS;
    let [calls, failed, slow] = [0, 0, 0];
    for (const bucket of this.#buckets) {
      if (bucket.at <= oldest) continue;
      calls += bucket.calls;
      failed += bucket.failed;
      slow += bucket.slow;
    }
    return { calls, failed: calls === 0 ? 0 : failed / calls, slow: calls === 0 ? 0 : slow / calls };
  }

  /** Time in ms from which a call counts as slow; undefined while it is not known. */
  get slowMs(): number | undefined {
    return this.#slowMs;
  }

  /** Resets everything including the learned time, because the server may have changed. */
  clear(): void {
    for (const bucket of this.#buckets) Object.assign(bucket, { at: -1, calls: 0, failed: 0, slow: 0 });
    this.#known = 0;
    this.#slowMs = undefined;
  }

  #bucket(nowMs: number): Bucket {
    const at = Math.floor(nowMs / BUCKET_MS);
    const bucket = this.#buckets[((at % BUCKETS) + BUCKETS) % BUCKETS] as Bucket;
    if (bucket.at !== at) Object.assign(bucket, { at, calls: 0, failed: 0, slow: 0 });
    return bucket;
  }

  #learn(tookMs: number): void {
    this.#took[this.#known % KEPT] = tookMs;
    this.#known += 1;
    // Sorts after 32, 64, and then every 128 calls, because sorting costs four microseconds.
    if (this.#known % KEPT !== 0 && this.#known !== LEARNED && this.#known !== 2 * LEARNED) return;
    const known = this.#took.slice(0, Math.min(this.#known, KEPT)).sort();
    const p99 = known[Math.min(known.length - 1, Math.floor(known.length * 0.99))] ?? 0;
    this.#slowMs = Math.max(SLOW_FLOOR_MS, p99 * SLOW_FACTOR);
  }
}
