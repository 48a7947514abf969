import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { LINE_CHARS, plainLine } from './plain-text.ts';

test('colours, titles, links and cursor moves are taken out, words stay', () => {
  assert.equal(
    plainLine('\u001b[1;31mError\u001b[0m: no \u001b]8;;http://x.test\u0007link\u001b]8;;\u001b\\ here'),
    'Error: no link here',
  );
  assert.equal(plainLine('\u001b[2K 10 %\r 50 %\r100 %\r'), '100 %');
  assert.equal(plainLine('a\tb\u0000\u0008\u202ec'), 'a  bc');
  assert.equal(plainLine('Grüße, 世界 👋'), 'Grüße, 世界 👋');
});

test('no control character and no endless line survives', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 300 }), (text) => {
      const plain = plainLine(text);
      assert.ok(!/\p{Cc}/u.test(plain));
    }),
  );
  assert.ok(plainLine('x'.repeat(1_000_000)).length <= LINE_CHARS + 1);
});

// finding: SR-M6
test('takes linear time on escape sequences and carriage returns without end', () => {
  for (const hostile of [
    `\u001b[${'!'.repeat(8100)}`,
    `${'\r'.repeat(8190)}x`,
    '\u001b]'.repeat(4096),
    '\u001b['.repeat(4096),
  ]) {
    const before = process.cpuUsage();
    for (let line = 0; line < 8; line += 1) plainLine(hostile);
    const { user } = process.cpuUsage(before);
    assert.ok(user < 100_000, `${user} µs for 8 lines of ${JSON.stringify(hostile.slice(0, 4))}`);
  }
  assert.equal(plainLine('10 %\r20 %\r\r'), '20 %');
  assert.equal(plainLine('\r\r'), '');
});
