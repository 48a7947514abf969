/**
 * Computes how much memory one worker may use: its share of the memory of this container or machine. The heap limit is
 * above the ceiling, so that the supervisor replaces a leaking worker before garbage collection slows it down.
 * Guarantees: pure, given two figures; never zero.
 */
import { totalmem } from 'node:os';
import type { Limits } from './limits.ts';

/** Share of all memory for the workers together; the rest is for control, the supervisor and the servers' processes. */
const FOR_HUBS = 0.6;
const HEAP_ABOVE_CEILING = 1.25;
/**
 * Memory in MB that V8 adds to its heap limit for a young generation of default size, minus what it adds for the small
 * one of `WORKER_FLAGS`. Without it, a leaking worker refuses work before it has been replaced.
 */
const YOUNG_GENERATION_MB = 180;
const MIB = 2 ** 20;
const LEAST_BYTES = 96 * MIB;

export interface MemoryShare {
  /** Resident memory above which a worker is replaced. */
  readonly ceilingBytes: number;
  /** Value for --max-old-space-size. */
  readonly heapMb: number;
}

export function memoryShare(
  { workers, hubMemoryBytes }: Pick<Limits, 'workers' | 'hubMemoryBytes'>,
  totalBytes: number = availableBytes(),
): MemoryShare {
  const share = (totalBytes * FOR_HUBS) / Math.max(1, workers);
  const ceilingBytes = Math.max(LEAST_BYTES, Math.floor(Math.min(hubMemoryBytes, share)));
  return { ceilingBytes, heapMb: Math.ceil((ceilingBytes / MIB) * HEAP_ABOVE_CEILING) + YOUNG_GENERATION_MB };
}

/** Returns the container's limit if there is one, otherwise the machine's memory. */
function availableBytes(): number {
  const constrained = process.constrainedMemory();
  return constrained > 0 ? Math.min(constrained, totalmem()) : totalmem();
}
