/** Content that arrives in pieces is assembled without blocking the event loop at its end. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Pieces } from './pieces.ts';

const MIB = 1024 * 1024;

/** Cuts `whole` into pieces of these sizes, in turn. */
function cut(whole: Buffer, sizes: readonly number[]): Buffer[] {
  const pieces: Buffer[] = [];
  for (let at = 0, turn = 0; at < whole.length; turn += 1) {
    const size = sizes[turn % sizes.length] ?? 1;
    pieces.push(Buffer.from(whole.subarray(at, at + size)));
    at += size;
  }
  return pieces;
}

test('returns all bytes for any piece sizes, and is empty afterwards', () => {
  const whole = Buffer.alloc(12 * MIB, 'The quick brown fox. ');
  for (const sizes of [[65_536], [1, 65_535, 17_000, 3], [2 * MIB, 5], [12 * MIB], [11 * MIB, MIB]])
    for (const length of [0, 1, 30_000, MIB, MIB + 1, 12 * MIB]) {
      const wanted = whole.subarray(0, length);
      const pieces = new Pieces();
      const parts = cut(wanted, sizes);
      const last = parts.pop();
      for (const part of parts) pieces.add(part);
      assert.equal(pieces.length, length - (last?.length ?? 0));
      assert.ok(pieces.take(last).equals(wanted), `${length} bytes in pieces of ${sizes}`);
      assert.equal(pieces.length, 0);
      pieces.add(Buffer.from('x'));
      assert.equal(pieces.take().toString(), 'x');
    }
});

test('does not copy content that came in one piece', () => {
  const piece = Buffer.alloc(2 * MIB);
  const pieces = new Pieces();
  pieces.add(piece);
  assert.equal(pieces.take(), piece);
});

test('does not copy adjacent pieces of one buffer, and joins them with others', () => {
  const whole = Buffer.alloc(2 * MIB, 'The quick brown fox. ');
  const views = [0, 5, 70_000, 70_001, MIB].map((at, index, all) => whole.subarray(at, all[index + 1]));
  const pieces = new Pieces();
  for (const view of views) pieces.add(view);
  const joined = pieces.take();
  assert.ok(joined.buffer === whole.buffer);
  assert.equal(joined.length, whole.length);
  for (const last of [whole.subarray(40_000, 50_000), Buffer.from('end'), Buffer.alloc(0)]) {
    pieces.add(Buffer.from('head'));
    pieces.add(whole.subarray(0, 20_000));
    pieces.add(whole.subarray(20_000, 40_000));
    const wanted = Buffer.concat([Buffer.from('head'), whole.subarray(0, 40_000), last]);
    assert.equal(pieces.length, 40_004);
    assert.ok(pieces.take(last).equals(wanted));
    assert.equal(pieces.length, 0);
  }
});

test('assembles 30 MB in steps that each copy a small part', () => {
  const whole = Buffer.alloc(30_000_000, 'The quick brown fox. ');
  const pieces = new Pieces();
  for (const part of cut(whole, [65_536, 3, 400_000])) pieces.add(part);
  const steps = pieces.takeSteps();
  assert.equal(pieces.length, 0);
  let count = 0;
  let step = steps.next();
  for (; !step.done; step = steps.next()) count += 1;
  assert.ok(step.value.equals(whole));
  // Pieces of 256 KiB each: assembling them at once takes 8 to 100 ms.
  assert.ok(count >= 60, `${count} steps`);
});
