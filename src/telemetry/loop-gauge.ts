/**
 * Measures event-loop delay and process memory once a second, so that reading costs nothing. Admission, health and the
 * supervisor act on the values; `stall-watcher.ts` finds causes.
 * Guarantees: `read` is synchronous, and its values are at most 1.5 s old while the event loop runs; the memory trend
 * is published as an event once a minute.
 */
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { getHeapStatistics } from 'node:v8';
import type { Runtime } from '../runtime/runtime.ts';
import { MemoryTrend } from './memory-trend.ts';

export interface Gauges {
  readonly rssBytes: number;
  readonly heapBytes: number;
  /** Over the last second. */
  readonly loopP99Ms: number;
  /** Over the last five seconds. */
  readonly loopMaxMs: number;
  /** Since the start. */
  readonly peakRssBytes: number;
  /** MB per hour over the last 15 minutes; undefined in the first minutes. */
  readonly slopeMbPerHour: number | undefined;
}

/** Sampling interval in ms; it is included in each measured value. */
const RESOLUTION_MS = 20;
const TICK_MS = 1000;
/** Age in ms after which a read takes new values. */
const OLD_MS = 1500;
const FACT_TICKS = 60;
const TICKS_OF_MAX = 5;

export class LoopGauge {
  readonly #runtime: Pick<Runtime, 'clock' | 'timers' | 'bus'>;
  readonly #delay = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  readonly #trend = new MemoryTrend();
  #known: Gauges = {
    rssBytes: 0,
    heapBytes: 0,
    loopP99Ms: 0,
    loopMaxMs: 0,
    peakRssBytes: 0,
    slopeMbPerHour: undefined,
  };
  #knownAtMs = Number.NEGATIVE_INFINITY;
  #maxima: readonly number[] = []; // bounded by: TICKS_OF_MAX
  #ticks = 0;
  #ticking: Disposable | undefined;

  constructor(runtime: Pick<Runtime, 'clock' | 'timers' | 'bus'>) {
    this.#runtime = runtime;
  }

  /** Starts measuring. Calls `eachSecond` with each tick, for other work that runs once a second. */
  start(eachSecond: () => void): void {
    if (this.#ticking) return;
    this.#delay.enable();
    this.#ticking = this.#runtime.timers.every(TICK_MS, () => {
      this.#measure();
      this.#ticks += 1;
      if (this.#ticks % FACT_TICKS === 0) this.#publish();
      eachSecond();
    });
  }

  stop(): void {
    this.#ticking?.[Symbol.dispose]();
    this.#ticking = undefined;
    this.#delay.disable();
  }

  read(): Gauges {
    if (this.#runtime.clock.nowMs() - this.#knownAtMs > OLD_MS) this.#measure();
    return this.#known;
  }

  #measure(): void {
    this.#knownAtMs = this.#runtime.clock.nowMs();
    this.#maxima = [...this.#maxima.slice(1 - TICKS_OF_MAX), this.#lateMs(this.#delay.max)];
    const rssBytes = process.memoryUsage.rss();
    this.#trend.peakBytes = Math.max(this.#trend.peakBytes, rssBytes);
    this.#known = {
      rssBytes,
      heapBytes: getHeapStatistics().used_heap_size,
      loopP99Ms: this.#lateMs(this.#delay.percentile(99)),
      loopMaxMs: Math.max(...this.#maxima),
      peakRssBytes: this.#trend.peakBytes,
      slopeMbPerHour: this.#trend.slope,
    };
    this.#delay.reset();
  }

  #lateMs(nanoseconds: number): number {
    // Right after a reset the histogram is empty and returns its own bounds.
    if (this.#delay.count === 0 || !Number.isFinite(nanoseconds)) return 0;
    return Math.max(0, Math.round((nanoseconds / 1e6 - RESOLUTION_MS) * 10) / 10);
  }

  #publish(): void {
    const { rssBytes, heapBytes, loopP99Ms } = this.#known;
    const externalBytes = getHeapStatistics().external_memory;
    this.#trend.note(this.#knownAtMs, rssBytes);
    const { peakBytes: peakRssBytes, slope } = this.#trend;
    this.#runtime.bus.publish({
      type: 'memory-measured',
      rssBytes,
      heapBytes,
      externalBytes,
      loopP99Ms,
      peakRssBytes,
      ...(slope === undefined ? {} : { slope }),
    });
  }
}
