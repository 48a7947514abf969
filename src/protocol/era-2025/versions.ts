/**
 * The protocol dates that begin with initialize, and the date that the hub offers when a client asks for an unknown one
 * (some send "1.0"; an unknown date is never refused).
 */
import { type Outcome, Refusal } from '../../model/outcome.ts';
import { listMembers } from '../header-list.ts';

/** The first date precedes all published ones; the official SDKs know it. */
export const VERSIONS_2025: readonly string[] = ['2024-10-07', '2024-11-05', '2025-03-26', '2025-06-18', '2025-11-25'];
export const LATEST_2025 = '2025-11-25';

/** Returns the date that the hub uses with a client that asked for `requested`. */
export function negotiate(requested: unknown): string {
  return typeof requested === 'string' && VERSIONS_2025.includes(requested) ? requested : LATEST_2025;
}

export function isVersion2025(version: string): boolean {
  return VERSIONS_2025.includes(version);
}

/**
 * Returns whether a stream may begin with an event without data: clients before 2025-11-25 treat one as invalid JSON.
 */
export function primesStreams(version: string): boolean {
  return version >= '2025-11-25';
}

/**
 * Returns the first known date in the header MCP-Protocol-Version, whatever was negotiated: Claude Code sends
 * 2025-11-25 in sessions of 2024-11-05, and a client whose configuration sets the header as well sends two. Returns
 * undefined when the header is missing or empty (VS Code sends none). Refuses with `invalid-request` (HTTP 400) when
 * none of its dates is known.
 */
export function versionFromHeader(value: string | undefined): Outcome<string | undefined> {
  if (value === undefined || isVersion2025(value)) return value;
  const dates = listMembers(value);
  if (dates.length === 0) return undefined;
  const known = dates.find(isVersion2025);
  if (known !== undefined) return known;
  return new Refusal(
    'invalid-request',
    `MCP-Protocol-Version ${JSON.stringify(value.slice(0, 40))} is not supported.`,
    {
      supported: VERSIONS_2025,
    },
  );
}
