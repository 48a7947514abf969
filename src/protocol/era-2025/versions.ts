/**
 * The dates of the initialize era, and what is answered to a date that is not one of them.
 * Source: protocol.md §1.1, §4 (some clients send "1.0"; an unknown date is answered, never refused).
 */
export const VERSIONS_2025: readonly string[] = ['2024-11-05', '2025-03-26', '2025-06-18', '2025-11-25'];
export const LATEST_2025 = '2025-11-25';

/** The date that the hub speaks with a client that asked for `requested`. */
export function negotiate(requested: unknown): string {
  return typeof requested === 'string' && VERSIONS_2025.includes(requested) ? requested : LATEST_2025;
}

export function isVersion2025(version: string): boolean {
  return VERSIONS_2025.includes(version);
}
