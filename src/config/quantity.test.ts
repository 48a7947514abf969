/** Figures with units. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { LIMIT_NAMES, LIMITS } from './limits.ts';
import { parseQuantity, QUANTITY_PATTERN, quantityText } from './quantity.ts';

const MS = { unit: 'ms', min: 100, max: 3_600_000 } as const;
const BYTES = { unit: 'bytes', min: 1, max: 2 ** 31 } as const;
const COUNT = { unit: 'count', min: 1, max: 100 } as const;

function read(given: number | string, rule: typeof MS | typeof BYTES | typeof COUNT, bare = false): number | undefined {
  const parsed = parseQuantity(given, rule, bare);
  return parsed.ok ? parsed.value : undefined;
}

test('lengths and sizes are read with their units', () => {
  assert.equal(read('5s', MS), 5000);
  assert.equal(read('1.1s', MS), 1100);
  assert.equal(read('2 m', MS), 120_000);
  assert.equal(read('1h', MS), 3_600_000);
  assert.equal(read('250ms', MS), 250);
  assert.equal(read(250, MS), 250);
  assert.equal(read('4MiB', BYTES), 4 * 1024 * 1024);
  assert.equal(read('4MB', BYTES), 4_000_000);
  assert.equal(read('1.5KiB', BYTES), 1536);
});

// row F14 · guards src/config/quantity.ts
test('a bad figure is refused, whatever it looks like', () => {
  for (const bad of [0, -1, 1e12, Number.NaN, Number.POSITIVE_INFINITY, 250.5, 2 ** 31]) {
    assert.equal(read(bad, MS), undefined, String(bad));
  }
  for (const bad of [
    '',
    '5',
    '5x',
    '-5s',
    '0s',
    'NaN',
    'Infinity',
    '1e3ms',
    '0x10ms',
    '5S',
    '99h',
    '5s5s',
    '5toString',
    '4MiB',
  ]) {
    assert.equal(read(bad, MS), undefined, bad);
  }
  assert.equal(read('5s', COUNT), undefined);
  assert.equal(read('5s', BYTES), undefined);
  assert.equal(read('1.0001KiB', BYTES), undefined);
});

test('a text without a unit counts only where everything is text', () => {
  assert.equal(read('5000', MS), undefined);
  assert.equal(read('5000', MS, true), 5000);
  assert.equal(read(' 7 ', COUNT, true), 7);
});

test('what is accepted is whole and within its range', () => {
  fc.assert(
    fc.property(
      fc.constantFrom(...LIMIT_NAMES),
      fc.oneof(fc.double(), fc.string(), fc.stringMatching(/^\d{1,9}(\.\d)? ?(ms|s|m|h|B|KiB|MiB)$/)),
      (name, given) => {
        const parsed = parseQuantity(given, LIMITS[name], true);
        if (!parsed.ok) return parsed.expected.length > 0;
        return (
          Number.isSafeInteger(parsed.value) && parsed.value >= LIMITS[name].min && parsed.value <= LIMITS[name].max
        );
      },
    ),
  );
});

test('every default is within its own range and reads back from its text', () => {
  for (const name of LIMIT_NAMES) {
    const row = LIMITS[name];
    assert.ok(parseQuantity(row.default, row).ok, name);
    if (row.unit !== 'ms' && row.unit !== 'bytes') continue;
    const text = quantityText(row.default, row.unit).replaceAll(',', '').replace('min', 'm');
    assert.deepEqual(parseQuantity(text, row), { ok: true, value: row.default }, text);
  }
});

test('figures are shown in their largest exact unit', () => {
  assert.equal(quantityText(5000, 'ms'), '5 s');
  assert.equal(quantityText(90_000, 'ms'), '90 s');
  assert.equal(quantityText(600_000, 'ms'), '10 min');
  assert.equal(quantityText(5001, 'ms'), '5,001 ms');
  assert.equal(quantityText(4 * 2 ** 20, 'bytes'), '4 MiB');
  assert.equal(quantityText(0, 'count'), '0');
  assert.equal(quantityText(3000, 'port'), '3000');
  assert.equal(quantityText(1_000_000, 'per-second'), '1,000,000/s');
});

test('the published pattern takes what the reader takes', () => {
  const pattern = new RegExp(QUANTITY_PATTERN);
  for (const text of ['5s', '1.5 h', '4MiB', '10kB', '500ms']) assert.match(text, pattern);
  for (const text of ['5', '5x', '-1s', 's']) assert.doesNotMatch(text, pattern);
});
