import assert from 'node:assert/strict';
import { Writable } from 'node:stream';
import { test } from 'node:test';
import { frozenRuntime } from '../../../test/support/frozen-runtime.ts';
import { StdinQueue } from './stdin-queue.ts';

const MAX_BYTES = 1024 * 1024;
/** Is written as it is, in pieces. */
const LARGE = 'l'.repeat(200_000);

/** A pipe whose reader takes one write at a time, when the test allows it. */
function rig() {
  const taken: string[] = [];
  let take: (() => void) | undefined;
  const stream = new Writable({
    decodeStrings: false,
    write(chunk: Buffer, _, done) {
      taken.push(chunk.toString());
      take = done;
    },
  });
  const { runtime } = frozenRuntime();
  const options = { runtime, maxBytes: MAX_BYTES, stuckMs: 1000, stuck() {}, broken() {} };
  const queue = new StdinQueue(stream, options);
  const turn = () => new Promise((done) => setImmediate(done));
  async function takeAll(): Promise<readonly string[]> {
    await turn();
    while (take) {
      const next = take;
      take = undefined;
      next();
      await turn();
    }
    return taken.join('').split('\n');
  }
  return { queue, turn, takeAll };
}

for (const [name, first] of [
  ['a small message', 'one'],
  ['a large message', LARGE],
] as const)
  test(`a request that waits behind ${name} can be taken back, and leaves no trace`, async () => {
    const { queue, turn, takeAll } = rig();
    queue.push(Buffer.from(first), 1);
    await turn();
    queue.push(Buffer.from('two'), 2);
    queue.push(Buffer.from(LARGE), 3);
    queue.push(Buffer.from('a notification'));
    queue.push(Buffer.from('four'), 4);
    assert.equal(queue.withdraw(1), false, 'it is being written');
    assert.equal(queue.withdraw(2), true);
    assert.equal(queue.withdraw(3), true);
    assert.equal(queue.withdraw(2), false, 'it is not there any more');
    assert.equal(queue.withdraw(99), false);
    assert.deepEqual(await takeAll(), [first, 'a notification', 'four', '']);
    assert.equal(queue.withdraw(4), false, 'it has been written');
    assert.equal(queue.unreadBytes, 0);
  });

test('a request can be taken back in the turn in which it was sent, and its bytes are free again', async () => {
  const { queue, takeAll } = rig();
  for (let id = 1; id <= 100; id += 1) {
    assert.equal(queue.push(Buffer.alloc(MAX_BYTES - 1, 'x'), id), true);
    assert.equal(queue.withdraw(id), true);
  }
  assert.equal(queue.unreadBytes, 0);
  queue.push(Buffer.from('last'), 101);
  assert.deepEqual(await takeAll(), ['last', '']);
});
