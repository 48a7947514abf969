import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Breaker } from './breaker.ts';
import { CallWindow } from './call-window.ts';
import { RetryBudget } from './retry-budget.ts';

const OPTIONS = { failures: 1000, openMs: 2000, capMs: 60_000, leaseMs: 5000, random: () => 0.5 };

test('forgets calls after 30 s, a sixth of it at a time', () => {
  const window = new CallWindow();
  for (let at = 0; at < 30; at += 1) window.note(at * 1000, at < 15, undefined);
  assert.deepEqual(window.shares(29_999), { calls: 30, failed: 0.5, slow: 0 });
  assert.equal(window.shares(35_000).failed, 5 / 20);
  assert.equal(window.shares(45_000).failed, 0);
  assert.equal(window.shares(90_000).calls, 0);
});

test('opens on the current rate after hours without calls, also across window borders', () => {
  for (const startMs of [0, 4999, 7_200_000, 29_990]) {
    const breaker = new Breaker(OPTIONS);
    let opened = false;
    for (let call = 0; call < 40 && !opened; call += 1) {
      if (call % 2 === 0) breaker.succeeded(startMs + call * 300, 5);
      else opened = breaker.failed(startMs + call * 300);
    }
    assert.equal(opened, true, `from ${startMs}`);
  }
});

// row A16 · guards src/resilience/call-window.ts
test('opens once when nearly all calls take five times as long as before, then takes that as usual', () => {
  const breaker = new Breaker(OPTIONS);
  for (let call = 0; call < 64; call += 1) assert.equal(breaker.succeeded(call * 100, 300), false);
  let nowMs = 6400;
  let opened = 0;
  for (let call = 0; call < 200; call += 1) {
    nowMs += 400;
    if (breaker.allows()) opened += Number(breaker.succeeded(nowMs, 4000));
    else {
      const lease = breaker.mayProbe(nowMs);
      if (lease !== undefined) breaker.probed(lease, true, nowMs);
    }
  }
  assert.equal(opened, 1);
});

test('does not open for a server that was always slow, has some long calls, or asks users', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 60_000 }), fc.integer({ min: 0, max: 70 }), (usualMs, longPercent) => {
      const breaker = new Breaker(OPTIONS);
      for (let call = 0; call < 300; call += 1) {
        const isLong = call % 100 < longPercent;
        assert.equal(breaker.succeeded(call * 50, isLong ? usualMs * 50 : usualMs), false);
        assert.equal(breaker.succeeded(call * 50, undefined), false);
      }
    }),
  );
});

test('allows a tenth of the requests to be retried, and a few always', () => {
  const budget = new RetryBudget();
  let again = 0;
  for (let call = 0; call < 1000; call += 1) {
    budget.sent();
    if (budget.take()) again += 1;
  }
  assert.ok(again >= 100 && again <= 111, `${again}`);
});
