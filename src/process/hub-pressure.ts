/**
 * Reads the hub's memory and loop four times a second, and says how hard it is pressed.
 * Promises: a reading costs microseconds; each change of the level is a fact.
 */
import { getHeapStatistics } from 'node:v8';
import { Pressure, type PressureLevel } from '../admission/pressure.ts';
import type { Kernel } from '../kernel/kernel.ts';
import type { Gauges } from '../telemetry/loop-gauge.ts';

const LOOK_MS = 250;

export function watchPressure(kernel: Kernel, gauges: () => Gauges): () => PressureLevel {
  const pressure = new Pressure();
  kernel.timers.every(LOOK_MS, () => {
    const { used_heap_size: heapBytes, heap_size_limit: limitBytes } = getHeapStatistics();
    const changed = pressure.take({
      nowMs: kernel.clock.nowMs(),
      loopP99Ms: gauges().loopP99Ms,
      memoryShare: Math.max(heapBytes, process.memoryUsage.rss()) / limitBytes,
    });
    if (changed) kernel.bus.publish({ type: 'pressure-changed', level: pressure.level, cause: pressure.cause });
  });
  return () => pressure.level;
}
