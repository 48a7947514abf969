import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { LineSplitter } from './_line-splitter.ts';

test('returns whole lines in order, wherever the chunks are split', () => {
  const line = fc.string({ minLength: 1, unit: 'binary' }).map((text) => text.replaceAll('\n', ' '));
  fc.assert(
    fc.property(fc.array(line), fc.array(fc.nat({ max: 40 })), (words, cuts) => {
      const bytes = Buffer.from(words.map((word) => `${word}\n`).join(''));
      const lines = new LineSplitter(() => 1_000_000);
      const seen: string[] = [];
      let at = 0;
      for (const cut of [...cuts, bytes.length]) {
        assert.equal(
          lines.push(bytes.subarray(at, at + cut), (one) => seen.push(one.toString())),
          0,
        );
        at += cut;
      }
      lines.push(bytes.subarray(at), (one) => seen.push(one.toString()));
      assert.deepEqual(
        seen,
        words.map((word) => Buffer.from(word).toString()),
      );
    }),
  );
});

test('skips a line above the limit, counts it once and returns the next line', () => {
  for (const size of [1, 2, 3, 100]) {
    const lines = new LineSplitter(() => 4);
    const seen: string[] = [];
    const bytes = Buffer.from('abcd\nabcde\nxy\nabcdefghijkl\n\nz\n');
    let tooLong = 0;
    for (let at = 0; at < bytes.length; at += size)
      tooLong += lines.push(bytes.subarray(at, at + size), (line) => seen.push(line.toString()));
    assert.deepEqual([seen, tooLong], [['abcd', 'xy', 'z'], 2]);
  }
});
