/**
 * How many connections the descriptors of this process allow: what the system gives it, less a reserve for everything else.
 * Promises: pure; text that is not what Linux writes means that nothing is known, and then the configured limit alone counts.
 * Source: defaults.md, row Global (64 in reserve).
 */
const RESERVE = 64;
/** However few there are, some clients must get in. */
const LEAST = 16;

/** `limitsText` = /proc/self/limits; `used` = descriptors that are open already and stay. */
export function connectionsWithin(wanted: number, limitsText: string, used: number): number {
  const most = Number(/^Max open files\s+(\d+)/m.exec(limitsText)?.[1] ?? Number.NaN);
  return Number.isNaN(most) ? wanted : Math.max(LEAST, Math.min(wanted, most - RESERVE - used));
}
