/**
 * A promise's figure: measured, held against its gate, and put on record for the report of the long tier.
 * Promises: in CI the gate has room (`ci`), in the long tier it is the strict figure of the promise (`strict`); the
 * record is written before the gate is judged, so that a missed figure is in the report too.
 */
import assert from 'node:assert/strict';
import { appendFileSync } from 'node:fs';

export const IS_LONG = process.env.MCPHUB_TIER === 'long';

export interface Figure {
  /** P1 … P20. */
  readonly promise: string;
  /** What was measured, in words. */
  readonly what: string;
  readonly value: number;
  readonly unit: string;
  /** Largest value that keeps the promise. */
  readonly strict: number;
  /** Largest value that passes in CI, on a noisy machine; default = `strict`. */
  readonly ci?: number;
}

/** Where the records go, one JSON line each; unset = nowhere. */
const FILE_VARIABLE = 'MCPHUB_MEASURED';

/** Measured, recorded and judged: all are recorded, also when the first has missed its gate. */
export function measured(...figures: readonly Figure[]): void {
  const missed = figures.flatMap((figure) => {
    const { max, passed } = recorded(figure);
    const value = Number.isInteger(figure.value) ? figure.value : Number(figure.value.toPrecision(4));
    const { promise, what, unit } = figure;
    return passed ? [] : [`${promise}: ${what} is ${value} ${unit}; the gate is ${max} ${unit}`];
  });
  assert.equal(missed.length, 0, missed.join('\n'));
}

/** Measured and recorded; judging is the caller's. */
export function recorded(figure: Figure): { max: number; passed: boolean } {
  const max = IS_LONG ? figure.strict : (figure.ci ?? figure.strict);
  const passed = figure.value <= max;
  const file = process.env[FILE_VARIABLE];
  if (file) appendFileSync(file, `${JSON.stringify({ ...figure, passed, at: new Date().toISOString() })}\n`);
  return { max, passed };
}

/** The count of the tier: many in the long one, few in CI. */
export function scaled(counts: { ci: number; long: number }): number {
  return IS_LONG ? counts.long : counts.ci;
}
