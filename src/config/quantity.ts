/**
 * Parses and formats figures with units: 5000, "5s", "2m", "4MiB". Pure.
 * Guarantees: an accepted figure is finite, whole and in range; no figure means "no limit"; text without a unit ("5")
 * is accepted only from the environment.
 */
import type { Unit } from './limits.ts';

/** The allowed values of a figure; a row of the limits table is one. */
export interface QuantityRule {
  readonly unit: Unit;
  readonly min: number;
  readonly max: number;
}

export type Quantity =
  | { readonly ok: true; readonly value: number }
  | { readonly ok: false; readonly expected: string };

const LENGTHS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };
const SIZES: Readonly<Record<string, number>> = {
  B: 1,
  KiB: 2 ** 10,
  MiB: 2 ** 20,
  GiB: 2 ** 30,
  kB: 1e3,
  KB: 1e3,
  MB: 1e6,
  GB: 1e9,
};

const WRITTEN = /^(\d{1,15}(?:\.\d{1,6})?) ?([A-Za-z]{0,3})$/;

/** The pattern of figures with units, for the published JSON Schema. */
export const QUANTITY_PATTERN = '^[0-9]+(\\.[0-9]+)? ?(ms|s|m|h|d|B|KiB|MiB|GiB|kB|KB|MB|GB)$';

/** Parses a figure. `bare` accepts text without a unit as a plain number (environment variables). */
export function parseQuantity(given: number | string, rule: QuantityRule, bare = false): Quantity {
  const value = typeof given === 'number' ? given : numberFrom(given.trim(), rule.unit, bare);
  if (value !== undefined && Number.isSafeInteger(value) && value >= rule.min && value <= rule.max) {
    return { ok: true, value };
  }
  return { ok: false, expected: expectedText(rule) };
}

function numberFrom(text: string, unit: Unit, bare: boolean): number | undefined {
  const found = WRITTEN.exec(text);
  if (found === null) return undefined;
  const amount = Number(found[1]);
  const suffix = found[2] ?? '';
  if (suffix === '') return bare ? amount : undefined;
  const factors = unit === 'ms' ? LENGTHS : unit === 'bytes' ? SIZES : undefined;
  const factor = factors !== undefined && Object.hasOwn(factors, suffix) ? factors[suffix] : undefined;
  if (factor === undefined) return undefined;
  // 1.1 * 1000 is not whole in binary; rounding gives the intended value.
  return Math.round(amount * factor * 1000) / 1000;
}

function expectedText(rule: QuantityRule): string {
  const range = `from ${quantityText(rule.min, rule.unit)} to ${quantityText(rule.max, rule.unit)}`;
  if (rule.unit === 'ms') return `milliseconds or a length such as "5s", ${range}`;
  if (rule.unit === 'bytes') return `bytes or a size such as "4MiB", ${range}`;
  return `a whole number ${range}`;
}

/** Formats a figure: `5 s`, `4 MiB`, `10,000`. Exact: a value without a round form keeps its base unit. */
export function quantityText(value: number, unit: Unit): string {
  if (unit === 'ms') return withLargest(value, LENGTHS, 'ms');
  if (unit === 'bytes') return withLargest(value, { B: 1, KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30 }, 'B');
  if (unit === 'per-second') return `${grouped(value)}/s`;
  if (unit === 'per-minute') return `${grouped(value)}/min`;
  return unit === 'port' ? String(value) : grouped(value);
}

const MINUTES: Readonly<Record<string, string>> = { m: 'min' };

function withLargest(value: number, units: Readonly<Record<string, number>>, base: string): string {
  let best = `${grouped(value)} ${base}`;
  for (const [name, factor] of Object.entries(units)) {
    if (value >= factor && value % factor === 0) best = `${grouped(value / factor)} ${MINUTES[name] ?? name}`;
  }
  return best;
}

function grouped(value: number): string {
  return String(value).replace(/\B(?=(\d{3})+$)/g, ',');
}
