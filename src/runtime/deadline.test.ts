// covers: L1
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { frozenRuntime } from '../../test/support/frozen-runtime.ts';
import { HubError } from '../model/errors.ts';
import { IdleWatch } from './idle-watch.ts';

test('a deadline ends by itself, at most one tick late, and says why', () => {
  const { runtime, advance } = frozenRuntime();
  const deadline = runtime.deadline(100);
  const heard: string[] = [];
  deadline.onEnd((reason) => heard.push(reason));
  advance(95);
  assert.deepEqual(heard, []);
  advance(30);
  assert.deepEqual(heard, ['time-up']);
  assert.equal(deadline.remainingMs(), 0);
  assert.equal(runtime.wheel.size, 0);
});

test('the first reason wins', () => {
  const { runtime, advance } = frozenRuntime();
  const deadline = runtime.deadline(100);
  deadline.end('client-gone');
  advance(200);
  assert.equal(deadline.ended, 'client-gone');
});

test('a child never outlives its parent and leaves nothing behind when it is put away', () => {
  const { runtime, advance } = frozenRuntime();
  const parent = runtime.deadline(100);
  const child = parent.sooner(10_000);
  assert.equal(child.atMs, parent.atMs);
  parent.end('draining');
  assert.equal(child.ended, 'draining');
  const other = runtime.deadline(1000);
  for (let i = 0; i < 1000; i += 1) other.sooner(50)[Symbol.dispose]();
  assert.equal(runtime.wheel.size, 1);
  advance(2000);
  assert.equal(runtime.wheel.size, 0);
});

test('the signal aborts with the deadline, also when it is asked for late', () => {
  const { runtime, advance } = frozenRuntime();
  const early = runtime.deadline(50);
  const signal = early.signal;
  advance(100);
  assert.equal(signal.aborted, true);
  const late = runtime.deadline(10);
  advance(100);
  assert.equal(late.signal.aborted, true);
});

test('there is no never', () => {
  const { runtime } = frozenRuntime();
  assert.throws(() => runtime.deadline(Number.POSITIVE_INFINITY), HubError);
  assert.throws(() => runtime.deadline(Number.NaN), HubError);
});

test('moving it changes the end', () => {
  const { runtime, advance } = frozenRuntime();
  const deadline = runtime.deadline(100);
  deadline.moveTo(runtime.clock.nowMs() + 500);
  advance(400);
  assert.equal(deadline.ended, undefined);
  advance(200);
  assert.equal(deadline.ended, 'time-up');
});

test('an idle watch that is touched does not fire; a silent one fires with how long it was silent', () => {
  const { runtime, advance } = frozenRuntime();
  const fired: number[] = [];
  using watch = new IdleWatch(100, runtime.wheel, (silentMs) => fired.push(silentMs));
  for (let i = 0; i < 10; i += 1) {
    advance(50);
    watch.touch();
  }
  assert.deepEqual(fired, []);
  advance(200);
  assert.equal(fired.length, 1);
  assert.ok(fired[0]! >= 100 && fired[0]! <= 150, `${fired[0]}`);
});
