/**
 * Reads the worker's memory and event-loop delay four times a second and derives the pressure level.
 * Guarantees: a reading costs microseconds; each change of the level publishes an event.
 */
import { getHeapStatistics } from 'node:v8';
import { Pressure, type PressureLevel } from '../admission/pressure.ts';
import type { Runtime } from '../runtime/runtime.ts';
import type { Gauges } from '../telemetry/loop-gauge.ts';

const LOOK_MS = 250;

export function watchPressure(runtime: Runtime, gauges: () => Gauges): () => PressureLevel {
  const pressure = new Pressure();
  const oldBytes = oldSpaceBytes(process.execArgv);
  runtime.timers.every(LOOK_MS, () => {
    const { used_heap_size: heapBytes, heap_size_limit: limitBytes } = getHeapStatistics();
    const heapShare = heapBytes / (oldBytes ?? limitBytes);
    const changed = pressure.update({
      nowMs: runtime.clock.nowMs(),
      loopP99Ms: gauges().loopP99Ms,
      memoryShare: Math.max(heapShare, process.memoryUsage.rss() / limitBytes),
    });
    if (changed) runtime.bus.publish({ type: 'pressure-changed', level: pressure.level, cause: pressure.cause });
  });
  return () => pressure.level;
}

/**
 * Returns the limit of the old generation, which is lower than that of the whole heap and beyond which the process
 * crashes; undefined when Node's default applies.
 */
function oldSpaceBytes(flags: readonly string[]): number | undefined {
  const megabytes = flags
    .map((flag) => /^--max-old-space-size=(\d+)$/.exec(flag)?.[1])
    .find((text) => text !== undefined);
  return megabytes === undefined ? undefined : Number(megabytes) * 2 ** 20;
}
