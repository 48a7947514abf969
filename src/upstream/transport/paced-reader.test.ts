/**
 * Data of a server is read in parts, one in each turn of the event loop, and its source is paused meanwhile.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { frozenRuntime } from '../../../test/support/frozen-runtime.ts';
import { PacedReader, type ReadStep } from './paced-reader.ts';

/** Returns a reader of `steps`, and the list of its calls. */
function rig(steps: ReadStep[], onStep: (step: ReadStep) => void = () => {}) {
  const frozen = frozenRuntime();
  const calls: string[] = []; // bounded by: one test
  const count = { steps: 0 };
  const reader = new PacedReader({
    ...{ runtime: frozen.runtime, server: 's' },
    step: () => {
      const step = steps.shift() ?? 'done';
      count.steps += 1;
      onStep(step);
      return step;
    },
    read: () => calls.push('read'),
    ended: (fault) => calls.push(`ended ${fault?.message}`),
  });
  const source = { pause: () => calls.push('pause'), resume: () => calls.push('resume') };
  return { ...frozen, calls, count, reader, source };
}

test('reads little at once, without a pause', () => {
  const { reader, source, calls } = rig(['more', 'more']);
  reader.run(source);
  assert.deepEqual(calls, ['read']);
  reader.end();
  assert.deepEqual(calls, ['read', 'read', 'ended undefined']);
});

test('pauses the source until all is read, and tells the end behind it', async () => {
  const { reader, source, calls, count, advanceAsync } = rig(Array<ReadStep>(1200).fill('more'));
  reader.run(source);
  assert.deepEqual([calls, count.steps, reader.isBusy], [['pause'], 512, true]);
  reader.run(source);
  reader.end(new Error('cut'));
  assert.equal(count.steps, 512);
  await advanceAsync(5);
  assert.equal(count.steps, 1024);
  await advanceAsync(20);
  assert.deepEqual(calls, ['pause', 'read', 'ended cut']);
});

test('resumes the source when no end has come', async () => {
  const { reader, source, calls, advanceAsync } = rig(Array<ReadStep>(600).fill('more'));
  reader.run(source);
  await advanceAsync(20);
  assert.deepEqual(calls, ['pause', 'read', 'resume']);
});

test('waits inside a long message for a turn that nobody else uses', async () => {
  const { reader, source, count, runtime, advanceAsync } = rig(Array<ReadStep>(600).fill('long'));
  reader.run(source);
  const others: string[] = [];
  void runtime.turns.next().then(() => others.push('other'));
  await advanceAsync(10);
  assert.deepEqual([count.steps, others.length], [601, 0]);
  await advanceAsync(10);
  assert.equal(others.length, 1);
});

test('reads nothing after cancel, and lets the source go on', async () => {
  const { reader, source, calls, count, advanceAsync } = rig(Array<ReadStep>(600).fill('more'));
  reader.run(source);
  reader.cancel();
  reader.end();
  await advanceAsync(50);
  assert.deepEqual([calls, count.steps], [['pause', 'resume'], 512]);
});

test('reports what a step of another turn throws, and ends', async () => {
  const steps = Array<ReadStep>(600).fill('more');
  const { reader, source, calls, facts, count, advanceAsync } = rig(steps, () => {
    if (count.steps === 600) throw new Error('broken');
  });
  reader.run(source);
  await advanceAsync(20);
  assert.deepEqual(calls, ['pause', 'resume', 'ended broken']);
  assert.ok(facts.some(({ type }) => type === 'task-faulted'));
});
