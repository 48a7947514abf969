// covers: L1
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { frozenRuntime } from '../../test/support/frozen-runtime.ts';
import { HubError } from '../model/errors.ts';

const never = new Promise<string>(() => {});

test('a wait ends at its deadline although the other side never settles', async () => {
  const { runtime, advance, facts } = frozenRuntime();
  const deadline = runtime.deadline(50);
  const wait = runtime.waits.for(never, { label: 'store', owner: 'a test', deadline });
  assert.equal(runtime.waits.table()[0]?.label, 'store');
  advance(100);
  await assert.rejects(wait, (fault) => fault instanceof HubError && fault.code === 'wait-expired');
  assert.equal(runtime.waits.size, 0);
  assert.ok(facts.some((fact) => fact.type === 'wait-expired' && fact.owner === 'a test'));
});

test('a late result is handed to who disposes of it, a late rejection to nobody', async () => {
  const { runtime, advance } = frozenRuntime();
  const late: string[] = [];
  let resolve!: (value: string) => void;
  let reject!: (fault: Error) => void;
  const first = runtime.waits.for(new Promise<string>((r) => (resolve = r)), {
    label: 'store',
    owner: 'x',
    deadline: runtime.deadline(10),
    late: (value) => late.push(value),
  });
  const second = runtime.waits.for(new Promise<string>((_, r) => (reject = r)), {
    label: 'store',
    owner: 'x',
    deadline: runtime.deadline(10),
  });
  advance(50);
  await assert.rejects(first);
  await assert.rejects(second);
  resolve('too late');
  reject(new Error('too late as well'));
  await new Promise((r) => setImmediate(r));
  assert.deepEqual(late, ['too late']);
});

test('a result in time comes through, a fault keeps its class, and nothing stays in the ledger or the wheel', async () => {
  const { runtime } = frozenRuntime();
  using deadline = runtime.deadline(1000);
  assert.equal(await runtime.waits.for(Promise.resolve(7), { label: 'store', owner: 'x', deadline }), 7);
  await assert.rejects(
    runtime.waits.for(Promise.reject(new TypeError('mine')), { label: 'store', owner: 'x', deadline }),
    TypeError,
  );
  assert.equal(runtime.waits.size, 0);
  assert.equal(runtime.wheel.size, 1);
});

test('a deadline that has already ended refuses at once', async () => {
  const { runtime } = frozenRuntime();
  const deadline = runtime.deadline(1000);
  deadline.end('draining');
  await assert.rejects(runtime.waits.for(never, { label: 'store', owner: 'x', deadline }), /draining/);
});

test('the table names label, owner, age and what is left, oldest first', () => {
  const { runtime, advance } = frozenRuntime();
  using a = runtime.deadline(5000);
  const first = runtime.waits.open('upstream-call', 'req-1', a);
  advance(100);
  const second = runtime.waits.open('body', 'req-2', a);
  assert.deepEqual(
    runtime.waits.table().map((row) => [row.label, row.owner, row.ageMs]),
    [
      ['upstream-call', 'req-1', 100],
      ['body', 'req-2', 0],
    ],
  );
  first.leave();
  first.leave();
  second.leave();
  assert.equal(runtime.waits.size, 0);
});
