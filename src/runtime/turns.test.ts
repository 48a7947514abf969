/**
 * Work that takes milliseconds gets a turn of the event loop for itself.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { frozenRuntime } from '../../test/support/frozen-runtime.ts';

/** Two steps of the frozen time. */
const TURN_MS = 10;

test('lets one caller go in each turn, in the order of asking, and the first one at once', async () => {
  const { runtime, advanceAsync } = frozenRuntime();
  const order: string[] = [];
  const ask = (name: string): void => void runtime.turns.next().then(() => order.push(name));
  for (const name of ['a', 'b', 'c']) ask(name);
  await Promise.resolve();
  assert.deepEqual(order, ['a']);
  await advanceAsync(TURN_MS);
  assert.deepEqual(order, ['a', 'b']);
  ask('d');
  await advanceAsync(TURN_MS);
  assert.deepEqual(order, ['a', 'b', 'c']);
  await advanceAsync(3 * TURN_MS);
  assert.deepEqual(order, ['a', 'b', 'c', 'd']);
  ask('e');
  await Promise.resolve();
  assert.equal(order.at(-1), 'e');
});

test('lets nobody go in a turn that has been used', async () => {
  const { runtime, advanceAsync } = frozenRuntime();
  const order: string[] = [];
  runtime.turns.used();
  void runtime.turns.next().then(() => order.push('a'));
  await Promise.resolve();
  assert.deepEqual(order, []);
  await advanceAsync(TURN_MS);
  assert.deepEqual(order, ['a']);
});
