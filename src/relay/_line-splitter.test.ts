import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Lines } from './_line-splitter.ts';

test('lines come out whole and in order, however the bytes are cut', () => {
  const line = fc.string({ minLength: 1, unit: 'binary' }).map((text) => text.replaceAll('\n', ' '));
  fc.assert(
    fc.property(fc.array(line), fc.array(fc.nat({ max: 40 })), (words, cuts) => {
      const bytes = Buffer.from(words.map((word) => `${word}\n`).join(''));
      const lines = new Lines(1_000_000);
      const seen: string[] = [];
      let at = 0;
      for (const cut of [...cuts, bytes.length]) {
        assert.equal(
          lines.take(bytes.subarray(at, at + cut), (one) => seen.push(one.toString())),
          0,
        );
        at += cut;
      }
      lines.take(bytes.subarray(at), (one) => seen.push(one.toString()));
      assert.deepEqual(
        seen,
        words.map((word) => Buffer.from(word).toString()),
      );
    }),
  );
});

test('a line longer than allowed is left out and reported once, and the next one is read', () => {
  for (const size of [1, 2, 3, 100]) {
    const lines = new Lines(4);
    const seen: string[] = [];
    const bytes = Buffer.from('abcd\nabcde\nxy\nabcdefghijkl\n\nz\n');
    let tooLong = 0;
    for (let at = 0; at < bytes.length; at += size)
      tooLong += lines.take(bytes.subarray(at, at + size), (line) => seen.push(line.toString()));
    assert.deepEqual([seen, tooLong], [['abcd', 'xy', 'z'], 2]);
  }
});
