import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FairQueue } from './fair-queue.ts';

/** Items are named after their owner: `a1` is the first of `a`. */
function queueOf(...items: string[]): FairQueue<string> {
  const queue = new FairQueue<string>((item) => item.slice(0, 1));
  for (const item of items) queue.push(item, 10);
  return queue;
}

function drain(queue: FairQueue<string>): string[] {
  const order: string[] = [];
  for (let next = queue.shift(); next !== undefined; next = queue.shift()) order.push(next);
  assert.equal(queue.size, 0);
  return order;
}

// finding: SR-A2
test('owners take turns, and each is served in its own order', () => {
  assert.deepEqual(drain(queueOf('a1', 'a2', 'a3', 'b1', 'c1')), ['a1', 'b1', 'c1', 'a2', 'a3']);
});

test('when too many wait, the owner with most of them loses its newest', () => {
  const queue = queueOf('a1', 'a2', 'a3');
  assert.equal(queue.push('a4', 3), 'a4');
  assert.equal(queue.push('b1', 3), 'a3');
  assert.equal(queue.push('b2', 3), 'b2');
  assert.equal(queue.size, 3);
  assert.deepEqual(drain(queue), ['a1', 'b1', 'a2']);
});

test('an item that is put back is the next', () => {
  const queue = queueOf('a1', 'a2', 'b1');
  assert.equal(queue.shift(), 'a1');
  queue.putBack('a1');
  assert.deepEqual(drain(queue), ['a1', 'b1', 'a2']);
});

test('the first items of each owner are taken out as long as they match', () => {
  const queue = queueOf('a1', 'a2', 'b1', 'c2', 'c1');
  assert.deepEqual(
    queue.takeWhile((item) => item.endsWith('1')),
    ['a1', 'b1'],
  );
  assert.deepEqual(drain(queue), ['a2', 'c2', 'c1']);
});
