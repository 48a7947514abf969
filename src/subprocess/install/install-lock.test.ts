// covers: B15
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { frozenRuntime } from '../../../test/support/frozen-runtime.ts';
import { limitsFrom } from '../../config/limits.ts';
import { InstallLock } from './install-lock.ts';

const limits = { ...limitsFrom({}), starting: 2 };
const BUDGET_MS = 300_000;

/** Installs that run until the test or their deadline ends them. */
function rig() {
  const { runtime, advanceAsync } = frozenRuntime();
  const lock = new InstallLock({ runtime, limits });
  const running = new Map<string, () => void>(); // bounded by: the installs of a test
  const outcomes: string[] = []; // bounded by: the installs of a test
  const ask = (key: string): void => {
    const install = (deadline: { onEnd: (end: () => void) => void }) =>
      new Promise<void>((resolve, reject) => {
        running.set(key, resolve);
        deadline.onEnd(() => reject(new Error('time is up')));
      }).finally(() => running.delete(key));
    lock.once({ key, owner: key, budgetMs: BUDGET_MS, install }, runtime.deadline(4 * BUDGET_MS)).then(
      () => outcomes.push(`${key} done`),
      () => outcomes.push(`${key} failed`),
    );
  };
  const end = (key: string): void => running.get(key)?.();
  return { ask, end, running, outcomes, advance: advanceAsync, lock };
}

test('the next install begins when one ends', async () => {
  const { ask, end, running, outcomes, advance } = rig();
  for (const key of ['a', 'b', 'c']) ask(key);
  await advance(10_000);
  assert.deepEqual([...running.keys()], ['a', 'b']);
  end('a');
  await advance(10);
  assert.deepEqual([...running.keys()], ['b', 'c']);
  assert.deepEqual(outcomes, ['a done']);
});

test('installs that hang let others in beside them, up to four times as many, and each has its whole budget', async () => {
  const { ask, end, running, outcomes, advance, lock } = rig();
  for (let nth = 1; nth <= 10; nth += 1) ask(`hung${nth}`);
  await advance(10);
  assert.equal(running.size, 2);
  await advance(61_000);
  assert.equal(running.size, 8, 'two more each 20 s');
  await advance(60_000);
  assert.equal(running.size, 8);
  ask('good');
  await advance(300_000 - 121_500);
  assert.deepEqual(outcomes, []);
  await advance(1000);
  assert.deepEqual(outcomes.toSorted(), ['hung1 failed', 'hung2 failed']);
  assert.ok(running.has('hung9') && running.has('hung10'));
  await advance(40_000);
  assert.ok(running.has('good'));
  end('good');
  await advance(10);
  assert.ok(lock.isDone('good'));
  assert.ok(running.has('hung10'), 'its time began when it did');
});

test('what gives up in the queue takes no place from the others', async () => {
  const { ask, end, running, outcomes, advance } = rig();
  for (let nth = 1; nth <= 24; nth += 1) ask(`hung${nth}`);
  ask('late');
  await advance(2 * BUDGET_MS + 1000);
  assert.ok(outcomes.includes('late failed'));
  while (running.size > 0) {
    for (const key of [...running.keys()]) end(key);
    await advance(10);
  }
  assert.equal(outcomes.length, 25);
  for (const key of ['x', 'y', 'z']) ask(key);
  await advance(10);
  assert.deepEqual([...running.keys()], ['x', 'y']);
});
