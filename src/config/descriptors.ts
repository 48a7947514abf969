/**
 * Computes how many connections the file descriptors of this process allow: the system's limit minus a reserve of 64.
 * Guarantees: pure; when the text is not what Linux writes, only the configured limit applies.
 */
const RESERVE = 64;
/** Minimum, so that some clients can connect in any case. */
const LEAST = 16;

/**
 * Returns the allowed connections. `limitsText` is the text of /proc/self/limits; `used` counts descriptors that are
 * permanently open.
 */
export function connectionsWithin(wanted: number, limitsText: string, used: number): number {
  const most = Number(/^Max open files\s+(\d+)/m.exec(limitsText)?.[1] ?? Number.NaN);
  return Number.isNaN(most) ? wanted : Math.max(LEAST, Math.min(wanted, most - RESERVE - used));
}
