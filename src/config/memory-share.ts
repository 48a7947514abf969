/**
 * How much memory one hub may hold: its part of what this container or machine has.
 * Promises: pure over the two figures it is given; never nothing, however small the machine is.
 * Source: defaults.md; reliability.md §4 (60 % of the container). The heap's limit lies above the ceiling, so that the supervisor replaces a hub that
 * leaks before the collector fights for the last byte.
 */
import { totalmem } from 'node:os';
import type { Limits } from './limits.ts';

/** Of all memory, for the hubs together; the rest is for control, the supervisor and the servers' processes. */
const FOR_HUBS = 0.6;
const HEAP_ABOVE_CEILING = 1.25;
/**
 * What V8 adds to its heap limit for a young generation of default size, less what it adds for the small one of `WORKER_FLAGS`, MB. Without it, a worker
 * that leaks refuses work before it has been replaced.
 */
const YOUNG_GENERATION_MB = 180;
const MIB = 2 ** 20;
const LEAST_BYTES = 96 * MIB;

export interface MemoryShare {
  /** Resident memory above which a hub is replaced. */
  readonly ceilingBytes: number;
  /** For --max-old-space-size. */
  readonly heapMb: number;
}

export function memoryShare(
  { hubs, hubMemoryBytes }: Pick<Limits, 'hubs' | 'hubMemoryBytes'>,
  totalBytes: number = availableBytes(),
): MemoryShare {
  const share = (totalBytes * FOR_HUBS) / Math.max(1, hubs);
  const ceilingBytes = Math.max(LEAST_BYTES, Math.floor(Math.min(hubMemoryBytes, share)));
  return { ceilingBytes, heapMb: Math.ceil((ceilingBytes / MIB) * HEAP_ABOVE_CEILING) + YOUNG_GENERATION_MB };
}

/** The container's limit where there is one, else the machine's memory. */
function availableBytes(): number {
  const constrained = process.constrainedMemory();
  return constrained > 0 ? Math.min(constrained, totalmem()) : totalmem();
}
