/**
 * The dates of the initialize era, and what is answered to a date that is not one of them.
 * Source: protocol.md §1.1, §4 (some clients send "1.0"; an unknown date is answered, never refused).
 */
import { type Outcome, Refusal } from '../../kernel/outcome.ts';

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
 * The header MCP-Protocol-Version of a request after initialize. Absent or empty: undefined (VS Code sends none). Any date of ours is taken, also
 * another one than the session's (Claude Code sends 2025-11-25 in sessions of 2024-11-05). Refuses the rest with `invalid-request` (HTTP 400).
 */
export function versionFromHeader(value: string | undefined): Outcome<string | undefined> {
  const version = value?.trim();
  if (version === undefined || version === '') return undefined;
  if (isVersion2025(version)) return version;
  return new Refusal(
    'invalid-request',
    `MCP-Protocol-Version ${JSON.stringify(version.slice(0, 40))} is not spoken here.`,
    { supported: VERSIONS_2025 },
  );
}
