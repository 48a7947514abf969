/**
 * The restart delays of a process that exits again and again, on a clock that the test advances.
 */
// covers: A5, A6
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RestartBackoff } from './restart-policy.ts';

const LIMITS = { restarts: 5, guardBackoffMs: 1000 };
const MINUTE = 60_000;

/** Exits right after each start; returns the delays, and advances the clock by them. */
function loop(backoff: RestartBackoff, clock: { nowMs: number }, exits: number, ranMs = 10): number[] {
  return Array.from({ length: exits }, () => {
    clock.nowMs += ranMs;
    const delayMs = backoff.next(clock.nowMs, ranMs, 0);
    clock.nowMs += delayMs;
    return delayMs;
  });
}

test('five exits within a minute cause no delay; then the delay doubles from 1 s to 30 s and stays there', () => {
  const backoff = new RestartBackoff(LIMITS);
  const clock = { nowMs: 0 };
  assert.deepEqual(loop(backoff, clock, 5), [0, 0, 0, 0, 0]);
  assert.deepEqual(loop(backoff, clock, 6), [1000, 2000, 4000, 8000, 16_000, 30_000]);
  // A day of it: with 30 s between them few exits fall into any minute, which is no recovery.
  assert.deepEqual([...new Set(loop(backoff, clock, 2880))], [30_000]);
});

test('an instance that runs for a minute ends the crash loop, a shorter one does not', () => {
  const backoff = new RestartBackoff(LIMITS);
  const clock = { nowMs: 0 };
  loop(backoff, clock, 8);
  assert.deepEqual(loop(backoff, clock, 1, MINUTE - 1), [8000]);
  assert.deepEqual(loop(backoff, clock, 1, MINUTE), [0]);
  assert.equal(backoff.delays, 0);
  assert.deepEqual(loop(backoff, clock, 5), [0, 0, 0, 0, 1000]);
});

test('few exits within any minute cause no delay, however many there are in all', () => {
  const backoff = new RestartBackoff(LIMITS);
  const clock = { nowMs: 0 };
  assert.deepEqual([...new Set(loop(backoff, clock, 100, 13_000))], [0]);
});

test('a delay is shortened at random by up to a quarter, so that processes do not restart together', () => {
  for (const [random, ms] of [
    [0, 1000],
    [0.5, 875],
    [0.999, 750],
  ] as const) {
    const backoff = new RestartBackoff({ restarts: 1, guardBackoffMs: 1000 });
    backoff.next(0, 0, random);
    assert.equal(backoff.next(0, 0, random), ms);
  }
});
