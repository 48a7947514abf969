/**
 * How late the event loop is and how much memory the process holds, measured once a second so that reading costs nothing.
 * Promises: `read` is synchronous and at most a second and a half old while the loop turns; the memory's trend is a fact each minute.
 * Does not: find what stalls the loop (`stall-watcher.ts`) or judge a process by it (admission, health and the supervisor do).
 */
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { getHeapStatistics } from 'node:v8';
import type { Runtime } from '../runtime/runtime.ts';
import { MemoryTrend } from './memory-trend.ts';

export interface Gauges {
  readonly rssBytes: number;
  readonly heapBytes: number;
  /** Of the last second. */
  readonly loopP99Ms: number;
  /** Of the last five seconds. */
  readonly loopMaxMs: number;
  /** Since the start. */
  readonly peakRssBytes: number;
  /** MB an hour over the last quarter of an hour; undefined in the first minutes. */
  readonly slopeMbPerHour: number | undefined;
}

/** The runtime's sampling step; it is part of each value it gives. */
const RESOLUTION_MS = 20;
const TICK_MS = 1000;
/** A read that finds older values takes new ones. */
const OLD_MS = 1500;
const FACT_TICKS = 60;
const TICKS_OF_MAX = 5;

export class LoopGauge {
  readonly #runtime: Pick<Runtime, 'clock' | 'timers' | 'bus'>;
  readonly #delay = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  readonly #trend = new MemoryTrend();
  #known: Gauges = {
    ...{ rssBytes: 0, heapBytes: 0, loopP99Ms: 0, loopMaxMs: 0 },
    ...{ peakRssBytes: 0, slopeMbPerHour: undefined },
  };
  #knownAtMs = Number.NEGATIVE_INFINITY;
  #maxima: readonly number[] = []; // bounded by: TICKS_OF_MAX
  #ticks = 0;
  #ticking: Disposable | undefined;

  constructor(runtime: Pick<Runtime, 'clock' | 'timers' | 'bus'>) {
    this.#runtime = runtime;
  }

  /** `eachSecond` is called with each tick: for what else this room does once a second. */
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
    // Right after a reset the histogram is empty and answers with its own bounds.
    if (this.#delay.count === 0 || !Number.isFinite(nanoseconds)) return 0;
    return Math.max(0, Math.round((nanoseconds / 1e6 - RESOLUTION_MS) * 10) / 10);
  }

  #publish(): void {
    const { rssBytes, heapBytes, loopP99Ms } = this.#known;
    const externalBytes = getHeapStatistics().external_memory;
    this.#trend.note(this.#knownAtMs, rssBytes);
    const { peakBytes: peakRssBytes, slope } = this.#trend;
    this.#runtime.bus.publish({
      ...{ type: 'memory-measured', rssBytes, heapBytes, externalBytes, loopP99Ms, peakRssBytes },
      ...(slope === undefined ? {} : { slope }),
    });
  }
}
