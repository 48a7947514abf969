/**
 * The dates of the initialize era, and what is answered to a date that is not one of them.
 * Source: protocol.md §1.1, §4 (some clients send "1.0"; an unknown date is answered, never refused).
 */
import { type Outcome, Refusal } from '../../model/outcome.ts';
import { listMembers } from '../header-list.ts';

/** The first is older than any that was published, and known to the official SDKs. */
export const VERSIONS_2025: readonly string[] = ['2024-10-07', '2024-11-05', '2025-03-26', '2025-06-18', '2025-11-25'];
export const LATEST_2025 = '2025-11-25';

/** The date that the hub speaks with a client that asked for `requested`. */
export function negotiate(requested: unknown): string {
  return typeof requested === 'string' && VERSIONS_2025.includes(requested) ? requested : LATEST_2025;
}

export function isVersion2025(version: string): boolean {
  return VERSIONS_2025.includes(version);
}

/** Clients before 2025-11-25 take an event without data for broken JSON. */
export function primesStreams(version: string): boolean {
  return version >= '2025-11-25';
}

/**
 * Returns the first date in the header MCP-Protocol-Version that is one of these, whatever was negotiated: Claude Code sends 2025-11-25 in sessions of
 * 2024-11-05, and a client whose configuration sets the header as well sends two. Absent or empty: undefined (VS Code sends none). Refuses with
 * `invalid-request` (HTTP 400) when none of its dates is known.
 */
export function versionFromHeader(value: string | undefined): Outcome<string | undefined> {
  if (value === undefined || isVersion2025(value)) return value;
  const dates = listMembers(value);
  if (dates.length === 0) return undefined;
  const known = dates.find(isVersion2025);
  if (known !== undefined) return known;
  return new Refusal(
    'invalid-request',
    `MCP-Protocol-Version ${JSON.stringify(value.slice(0, 40))} is not spoken here.`,
    {
      supported: VERSIONS_2025,
    },
  );
}
