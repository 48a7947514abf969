// covers: A4, P16
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { frozenRuntime } from '../../test/support/frozen-runtime.ts';
import { isRefusal, type Outcome, Refusal } from '../model/outcome.ts';
import { Breaker } from './breaker.ts';
import { Bulkhead, type Permit } from './bulkhead.ts';
import { TokenBucket } from './token-bucket.ts';

const bulkhead = (inside: number, waiting: number) =>
  new Bulkhead({ inside, waiting, refusal: (why) => new Refusal('server-busy', why) });
const settle = () => new Promise<void>((resolve) => setImmediate(resolve));

function permitOf(outcome: Outcome<Permit> | Promise<Outcome<Permit>>): Permit {
  assert.ok(!(outcome instanceof Promise) && !isRefusal(outcome));
  return outcome;
}

test('returns at once while there is room', () => {
  const { runtime } = frozenRuntime();
  const room = bulkhead(2, 2);
  permitOf(room.enter(runtime.deadline(100), 'a'));
  assert.equal(room.inside, 1);
});

test('full and the queue too: refused at once', () => {
  const { runtime } = frozenRuntime();
  const room = bulkhead(1, 1);
  permitOf(room.enter(runtime.deadline(100), 'a'));
  void room.enter(runtime.deadline(100), 'a');
  const third = room.enter(runtime.deadline(100), 'a');
  assert.ok(!(third instanceof Promise) && isRefusal(third) && third.message === 'full');
});

test('a waiter leaves at its deadline although nothing is ever released', async () => {
  const { runtime, advance } = frozenRuntime();
  const room = bulkhead(1, 5);
  permitOf(room.enter(runtime.deadline(10_000), 'a'));
  const waiting = room.enter(runtime.deadline(50), 'a');
  advance(100);
  const outcome = await waiting;
  assert.ok(isRefusal(outcome) && outcome.message === 'waited');
  assert.equal(room.waiting, 0);
});

test('removes a waiter whose caller disconnects at once, and gives it no place later', async () => {
  const { runtime } = frozenRuntime();
  const room = bulkhead(1, 5);
  const first = permitOf(room.enter(runtime.deadline(1000), 'a'));
  const deadline = runtime.deadline(1000);
  const waiting = room.enter(deadline, 'a');
  deadline.end('client-gone');
  assert.ok(isRefusal(await waiting));
  first[Symbol.dispose]();
  assert.equal(room.inside, 0);
});

test('releases one place when a permit is released twice', async () => {
  const { runtime } = frozenRuntime();
  const room = bulkhead(1, 5);
  const first = permitOf(room.enter(runtime.deadline(1000), 'a'));
  const order: string[] = [];
  for (const name of ['b', 'c'])
    void Promise.resolve(room.enter(runtime.deadline(1000), name)).then(() => order.push(name));
  first[Symbol.dispose]();
  first[Symbol.dispose]();
  await settle();
  assert.deepEqual(order, ['b']);
  assert.equal(room.inside, 1);
});

test('gives another key its turn during a flood by one key', async () => {
  const { runtime } = frozenRuntime();
  const room = bulkhead(1, 100);
  let current = permitOf(room.enter(runtime.deadline(60_000), 'flood'));
  const order: string[] = [];
  const enter = (key: string) =>
    void Promise.resolve(room.enter(runtime.deadline(60_000), key)).then((outcome) => {
      assert.ok(!isRefusal(outcome));
      order.push(key);
      current = outcome;
    });
  for (let i = 0; i < 50; i += 1) enter('flood');
  enter('quiet');
  for (let i = 0; i < 3; i += 1) {
    current[Symbol.dispose]();
    await settle();
  }
  assert.ok(order.includes('quiet'), order.join());
});

test('moves the newest places of a key that fills the queue to keys that have fewer, and serves those', async () => {
  const { runtime } = frozenRuntime();
  const room = bulkhead(1, 8);
  const inside = permitOf(room.enter(runtime.deadline(100), 'greedy'));
  const greedy = Array.from({ length: 20 }, () => room.enter(runtime.deadline(100), 'greedy'));
  assert.equal(greedy.filter((one) => !(one instanceof Promise)).length, 12);
  const others = ['b', 'b', 'c'].map((key) => room.enter(runtime.deadline(100), key));
  assert.ok(others.every((one) => one instanceof Promise));
  assert.equal(room.waiting, 8);
  const refused = greedy.slice(5, 8).map((one) => one as Promise<Outcome<Permit>>);
  for (const outcome of await Promise.all(refused)) assert.ok(isRefusal(outcome) && outcome.message === 'full');
  let served = 0;
  for (const one of [...greedy.slice(0, 5), ...others])
    void Promise.resolve(one).then((permit) => {
      if (isRefusal(permit)) return;
      served += 1;
      permit[Symbol.dispose]();
    });
  inside[Symbol.dispose]();
  for (let turn = 0; turn < 10; turn += 1) await settle();
  assert.deepEqual([served, room.inside, room.waiting], [8, 0, 0]);
});

test('never exceeds `inside`, loses no waiter, and gets all places back, for any order of events', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.tuple(fc.nat(3), fc.nat(4)), { maxLength: 80 }), async (steps) => {
      const { runtime, advance } = frozenRuntime();
      const room = bulkhead(2, 3);
      const held: Permit[] = [];
      let asked = 0;
      let answered = 0;
      for (const [kind, value] of steps) {
        if (kind <= 1) {
          asked += 1;
          void Promise.resolve(room.enter(runtime.deadline(20 + value * 10), `k${value}`)).then((outcome) => {
            answered += 1;
            if (!isRefusal(outcome)) held.push(outcome);
          });
        } else if (kind === 2) held.shift()?.[Symbol.dispose]();
        else advance(value * 10);
        await settle();
        assert.ok(room.inside <= 2 && room.waiting <= 3);
      }
      while (held.length > 0 || room.waiting > 0) {
        held.shift()?.[Symbol.dispose]();
        advance(20);
        await settle();
      }
      assert.deepEqual([room.inside, room.waiting, answered], [0, 0, asked]);
    }),
    { numRuns: 60 },
  );
});

const OPTIONS = { failures: 5, openMs: 2000, capMs: 60_000, leaseMs: 5000, random: () => 0.5 };

test('opens after five consecutive failures; a success in between resets the count', () => {
  const breaker = new Breaker(OPTIONS);
  for (let i = 0; i < 4; i += 1) breaker.failed(i);
  breaker.succeeded(4, 5);
  for (let i = 0; i < 4; i += 1) assert.equal(breaker.failed(5 + i), false);
  assert.equal(breaker.failed(10), true);
  assert.equal(breaker.allows(), false);
});

test('opens when half of twenty calls fail', () => {
  const breaker = new Breaker(OPTIONS);
  let opened = false;
  for (let i = 0; i < 20; i += 1) {
    if (i % 2 === 0) breaker.succeeded(i, 5);
    else opened ||= breaker.failed(i);
  }
  assert.equal(opened, true);
});

test('for every order of answers, failures, late answers and silence, it is closed at most 65 s after the server is well again', () => {
  const steps = fc.array(
    fc.tuple(fc.constantFrom('ok', 'fail', 'probe-ok', 'probe-fail', 'probe-never', 'late-fail'), fc.nat(20_000)),
    { maxLength: 60 },
  );
  fc.assert(
    fc.property(steps, fc.double({ min: 0, max: 0.999, noNaN: true }), (history, chance) => {
      const breaker = new Breaker({ ...OPTIONS, random: () => chance });
      let nowMs = 0;
      let stale = 0;
      for (const [what, gapMs] of history) {
        nowMs += gapMs;
        if (what === 'ok') breaker.succeeded(nowMs, 5);
        else if (what === 'fail') for (let i = 0; i < 5; i += 1) breaker.failed(nowMs);
        else if (what === 'late-fail') breaker.probed(stale, false, nowMs);
        else {
          const lease = breaker.mayProbe(nowMs);
          if (lease === undefined) continue;
          if (what !== 'probe-never') breaker.probed(lease, what === 'probe-ok', nowMs);
          else stale = lease;
        }
      }
      const wellAgainMs = nowMs;
      while (!breaker.allows()) {
        nowMs += 100;
        const lease = breaker.mayProbe(nowMs);
        if (lease !== undefined) breaker.probed(lease, true, nowMs);
        assert.ok(nowMs - wellAgainMs <= 65_000, `still ${breaker.state}`);
      }
    }),
  );
});

test('allows the burst at once and the rate in the long run', () => {
  const bucket = new TokenBucket({ perSecond: 10, burst: 5, nowMs: 0 });
  let taken = 0;
  for (let nowMs = 0; nowMs <= 10_000; nowMs += 10) if (bucket.take(nowMs)) taken += 1;
  assert.ok(taken >= 104 && taken <= 106, `${taken}`);
});

test('loses no place and leaves nothing behind when thousands of waiters leave', async () => {
  const { runtime } = frozenRuntime();
  const room = bulkhead(1, 2048);
  const first = permitOf(room.enter(runtime.deadline(60_000), 'a'));
  for (let round = 0; round < 20; round += 1) {
    const deadlines = Array.from({ length: 2048 }, () => runtime.deadline(60_000));
    const outcomes = deadlines.map((deadline, at) => room.enter(deadline, `k${at % 7}`));
    for (const deadline of deadlines) if (deadline !== deadlines[1000]) deadline.end('client-gone');
    assert.equal(room.waiting, 1);
    deadlines[1000]?.end('client-gone');
    for (const outcome of outcomes) assert.ok(isRefusal(await outcome));
  }
  assert.equal(room.waiting, 0);
  const last = room.enter(runtime.deadline(1000), 'z');
  first[Symbol.dispose]();
  const permit = await last;
  assert.ok(!isRefusal(permit));
  permit[Symbol.dispose]();
  assert.deepEqual([room.inside, room.waiting], [0, 0]);
});

// finding: SR-A11
test('leaves a quarter of the places to other keys, and gives one key more when they have left', async () => {
  const { runtime } = frozenRuntime();
  const room = bulkhead(32, 64);
  const greedy = Array.from({ length: 40 }, () => room.enter(runtime.deadline(60_000), 'greedy'));
  const permits = greedy.filter((one) => !(one instanceof Promise)).map(permitOf);
  assert.equal(permits.length, 24);
  const other = Array.from({ length: 10 }, () => room.tryEnter('other'));
  assert.equal(other.filter((permit) => permit !== undefined).length, 8);
  assert.equal(room.tryEnter('third'), undefined, 'all places are taken');
  const third = room.enter(runtime.deadline(60_000), 'third');
  permits[0]?.[Symbol.dispose]();
  permitOf(await third);
  assert.equal(room.inside, 32);
  for (const permit of [...other, ...permits]) permit?.[Symbol.dispose]();
  await Promise.all(greedy.slice(24, 40));
  assert.equal(room.waiting, 0);
});

test('has no shares when there are few places', () => {
  const { runtime } = frozenRuntime();
  const room = bulkhead(4, 0);
  for (let at = 0; at < 4; at += 1) permitOf(room.enter(runtime.deadline(1000), 'a'));
  assert.ok(isRefusal(room.enter(runtime.deadline(1000), 'a') as never));
});

// finding: SR-A11
test('does not open for failures or slowness of one key while calls of another succeed', () => {
  const breaker = new Breaker(OPTIONS);
  for (let at = 0; at < 200; at += 1) {
    if (at % 50 === 0) breaker.succeeded(at * 100, 5, 'victim');
    assert.equal(breaker.failed(at * 100, 'attacker'), false);
  }
  for (let at = 0; at < 64; at += 1) breaker.succeeded(20_000 + at, 5, 'victim');
  for (let at = 0; at < 200; at += 1) assert.equal(breaker.succeeded(21_000 + at * 10, 5000, 'attacker'), false);
  assert.equal(breaker.state, 'closed');
});

test('opens for consecutive failures of two keys, or of one while no other key calls', () => {
  const two = new Breaker(OPTIONS);
  two.succeeded(0, 5, 'a');
  two.succeeded(1, 5, 'b');
  const opened = Array.from({ length: 6 }, (_, at) => two.failed(2 + at, at % 2 === 0 ? 'a' : 'b'));
  assert.ok(opened.includes(true));
  const one = new Breaker(OPTIONS);
  one.succeeded(0, 5, 'b');
  one.succeeded(1, 5, 'a');
  for (let at = 0; at < 4; at += 1) one.failed(40_000 + at, 'a');
  assert.equal(one.failed(40_004, 'a'), true);
});

test('those that wait get the places of a raised maximum', async () => {
  const { runtime } = frozenRuntime();
  let inside = 1;
  const room = new Bulkhead({ inside: () => inside, waiting: 5, refusal: (why) => new Refusal('server-busy', why) });
  const stop = runtime.ceilings.onResize(() => room.admit());
  permitOf(room.enter(runtime.deadline(1000), 'a'));
  const waiting = ['a', 'b', 'b'].map((key) => room.enter(runtime.deadline(1000), key));
  inside = 3;
  runtime.ceilings.resize();
  await Promise.all(waiting.slice(0, 2));
  assert.deepEqual([room.inside, room.waiting], [3, 1]);
  stop();
  inside = 5;
  runtime.ceilings.resize();
  assert.equal(room.inside, 3);
});
