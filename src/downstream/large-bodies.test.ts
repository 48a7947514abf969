/** Large bodies are handled one by one, and small ones do not wait. */
// covers: P11
import assert from 'node:assert/strict';
import type { ServerResponse } from 'node:http';
import { test } from 'node:test';
import { frozenRuntime } from '../../test/support/frozen-runtime.ts';
import { createLargeBodies } from './large-bodies.ts';

const LARGE = 1024 * 1024;
const there = { destroyed: false } as ServerResponse;

test('one large body in each turn of the loop, in order; small ones at once; none of a client that has gone', () => {
  const frozen = frozenRuntime();
  const bodies = createLargeBodies(frozen.runtime);
  const looked: string[] = [];
  const take = (name: string, bytes = LARGE, response = there) => bodies.take(bytes, response, () => looked.push(name));
  take('a');
  take('b');
  const gone = { destroyed: false };
  take('gone', LARGE, gone as ServerResponse);
  take('c');
  take('small', 1000);
  assert.deepEqual(looked, ['small']);
  gone.destroyed = true;
  const seen: number[] = [];
  for (let turn = 0; turn < 4; turn += 1) {
    frozen.advance(1);
    seen.push(looked.length);
  }
  assert.deepEqual(
    [looked, seen],
    [
      ['small', 'a', 'b', 'c'],
      [2, 3, 3, 4],
    ],
  );
});

test('a fault of one ends its own request and does not keep the others', () => {
  const frozen = frozenRuntime();
  const bodies = createLargeBodies(frozen.runtime);
  const looked: string[] = [];
  let ended = 0;
  const faulty = { destroyed: false, destroy: () => (ended += 1) } as unknown as ServerResponse;
  bodies.take(LARGE, faulty, () => {
    throw new Error('a defect');
  });
  bodies.take(LARGE, there, () => looked.push('b'));
  frozen.advance(1);
  frozen.advance(1);
  assert.equal(ended, 1);
  assert.equal(frozen.facts.filter(({ type }) => type === 'task-faulted').length, 1);
  assert.deepEqual(looked, ['b']);
});
