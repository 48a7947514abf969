import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Lines } from './_lines.ts';

test('lines come out whole and in order, however the bytes are cut', () => {
  const line = fc.string({ minLength: 1, unit: 'binary' }).map((text) => text.replaceAll('\n', ' '));
  fc.assert(
    fc.property(fc.array(line), fc.array(fc.nat({ max: 40 })), (words, cuts) => {
      const bytes = Buffer.from(words.map((word) => `${word}\n`).join(''));
      const lines = new Lines(1_000_000);
      const seen: string[] = [];
      let at = 0;
      for (const cut of [...cuts, bytes.length]) {
        assert.ok(lines.take(bytes.subarray(at, at + cut), (one) => seen.push(one.toString())));
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

test('a line longer than allowed is refused, with its end in sight or not', () => {
  const whole = new Lines(4);
  assert.equal(
    whole.take(Buffer.from('abcd\n'), () => {}),
    true,
  );
  assert.equal(
    whole.take(Buffer.from('abcde\n'), () => {}),
    false,
  );
  const open = new Lines(4);
  assert.equal(
    open.take(Buffer.from('ab'), () => {}),
    true,
  );
  assert.equal(
    open.take(Buffer.from('cde'), () => {}),
    false,
  );
});
