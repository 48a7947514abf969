import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MemoryTrend } from './memory-trend.ts';

const MINUTE = 60_000;
const MIB = 2 ** 20;

test('reports a leak of 2 MB a minute as 120 MB an hour, and nothing for noise or few samples', () => {
  const leak = new MemoryTrend();
  for (let at = 0; at < 4; at += 1) leak.note(at * MINUTE, (100 + 2 * at) * MIB);
  assert.equal(leak.slope, undefined);
  for (let at = 4; at < 40; at += 1) leak.note(at * MINUTE, (100 + 2 * at) * MIB);
  assert.equal(leak.slope, 120);
  assert.equal(leak.peakBytes, 178 * MIB);
  const noise = new MemoryTrend();
  for (let at = 0; at < 15; at += 1) noise.note(at * MINUTE, (100 + (at % 2)) * MIB);
  assert.ok(Math.abs(noise.slope ?? 99) < 5, `${noise.slope}`);
});
