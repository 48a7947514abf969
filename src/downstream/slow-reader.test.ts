import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeResponse } from '../../test/support/fake-response.ts';
import { frozenRuntime } from '../../test/support/frozen-runtime.ts';
import { countFor, SlowReaders } from './slow-reader.ts';

const LIMITS = { streamSlowMs: 10_000, unreadBytes: 1000, unreadBytesPerKey: 600 };

/** A response whose reader has left `bytes` in its queue. */
class UnreadResponse extends FakeResponse {
  constructor(owner: string, bytes: number) {
    super();
    this.writableLength = bytes;
    countFor(this.asResponse(), owner);
  }

  setTimeout(): this {
    return this;
  }
}

function rig() {
  const slowReaders = new SlowReaders({ runtime: frozenRuntime().runtime, limits: LIMITS });
  const unread = (owner: string, bytes: number): UnreadResponse => {
    const response = new UnreadResponse(owner, bytes);
    slowReaders.watch(response.asResponse());
    return response;
  };
  return { slowReaders, unread };
}

test('a key above its share of unread bytes loses its own oldest answer', () => {
  const { slowReaders, unread } = rig();
  const other = unread('b', 100);
  const answers = [unread('a', 300), unread('a', 300), unread('a', 300)];
  assert.deepEqual(
    answers.map(({ destroyed }) => destroyed),
    [true, false, false],
  );
  assert.equal(other.destroyed, false);
  assert.equal(slowReaders.bytes, 700);
});

test('when all unread bytes are taken the key that holds most loses its oldest answer, not the one that comes', () => {
  const { slowReaders, unread } = rig();
  const greedy = [unread('a', 300), unread('a', 300)];
  const others = [unread('b', 200), unread('c', 300)];
  assert.deepEqual(
    greedy.map(({ destroyed }) => destroyed),
    [true, false],
  );
  assert.ok(others.every(({ destroyed }) => !destroyed));
  assert.equal(slowReaders.bytes, 800);
});

test('what has been read since it was counted makes room before anything is cut', () => {
  const { slowReaders, unread } = rig();
  const first = unread('a', 600);
  first.writableLength = 10;
  const second = unread('a', 500);
  assert.equal(first.destroyed || second.destroyed, false);
  assert.equal(slowReaders.bytes, 510);
});

test('a response without an owner is counted for the address of its client', () => {
  const { slowReaders } = rig();
  const anonymous = Array.from({ length: 3 }, () => {
    const response = Object.assign(new FakeResponse(), { setTimeout() {}, socket: { remoteAddress: '192.0.2.1' } });
    response.writableLength = 300;
    slowReaders.watch(response.asResponse());
    return response;
  });
  assert.deepEqual(
    anonymous.map(({ destroyed }) => destroyed),
    [true, false, false],
  );
});
