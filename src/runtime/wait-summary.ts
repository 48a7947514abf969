/**
 * Summarises the waits of a process on one line for crash reports: how many of each kind, and which has lasted longest.
 * Guarantees: a pure function; the text has at most `MAX_CHARS` characters.
 */

import type { WaitLabel } from './wait-labels.ts';
import type { WaitRow } from './waits.ts';

const MAX_CHARS = 1024;

export function waitSummary(rows: readonly WaitRow[]): string {
  const kinds = new Map<WaitLabel, { count: number; oldest: WaitRow }>(); // bounded by: the labels
  for (const row of rows) {
    const kind = kinds.get(row.label);
    if (!kind) kinds.set(row.label, { count: 1, oldest: row });
    else {
      kind.count += 1;
      if (row.ageMs > kind.oldest.ageMs) kind.oldest = row;
    }
  }
  return [...kinds]
    .sort(([, a], [, b]) => b.oldest.ageMs - a.oldest.ageMs)
    .map(
      ([label, { count, oldest }]) =>
        `${count} ${label} (oldest ${Math.round(oldest.ageMs)} ms: ${oldest.owner.slice(0, 60)})`,
    )
    .join(', ')
    .slice(0, MAX_CHARS);
}
