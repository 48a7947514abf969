/**
 * The rests of a process that dies again and again, on a clock that the test turns.
 */
// covers: A5, A6
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Rests } from './liveness-policy.ts';

const LIMITS = { restarts: 5, guardBackoffMs: 1000 };
const MINUTE = 60_000;

/** Deaths right after each birth; answers with the rests, and turns the clock by them. */
function loop(rests: Rests, clock: { nowMs: number }, deaths: number, livedMs = 10): number[] {
  return Array.from({ length: deaths }, () => {
    clock.nowMs += livedMs;
    const restMs = rests.next(clock.nowMs, livedMs, 0);
    clock.nowMs += restMs;
    return restMs;
  });
}

test('five deaths within a minute are answered at once; then rests double from a second to thirty, for ever', () => {
  const rests = new Rests(LIMITS);
  const clock = { nowMs: 0 };
  assert.deepEqual(loop(rests, clock, 5), [0, 0, 0, 0, 0]);
  assert.deepEqual(loop(rests, clock, 6), [1000, 2000, 4000, 8000, 16_000, 30_000]);
  // A day of it: few deaths are left within any minute, and that is no recovery.
  assert.deepEqual([...new Set(loop(rests, clock, 2880))], [30_000]);
});

test('a life of a minute ends the loop, a shorter one does not', () => {
  const rests = new Rests(LIMITS);
  const clock = { nowMs: 0 };
  loop(rests, clock, 8);
  assert.deepEqual(loop(rests, clock, 1, MINUTE - 1), [8000]);
  assert.deepEqual(loop(rests, clock, 1, MINUTE), [0]);
  assert.equal(rests.row, 0);
  assert.deepEqual(loop(rests, clock, 5), [0, 0, 0, 0, 1000]);
});

test('deaths that are further apart than a minute cost no rest, however many', () => {
  const rests = new Rests(LIMITS);
  const clock = { nowMs: 0 };
  assert.deepEqual([...new Set(loop(rests, clock, 100, 13_000))], [0]);
});

test('chance shortens a rest by a quarter at most, so that several processes do not come back together', () => {
  for (const [chance, ms] of [
    [0, 1000],
    [0.5, 875],
    [0.999, 750],
  ] as const) {
    const rests = new Rests({ restarts: 1, guardBackoffMs: 1000 });
    rests.next(0, 0, chance);
    assert.equal(rests.next(0, 0, chance), ms);
  }
});
