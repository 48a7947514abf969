import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { printableJson } from '../telemetry/mask.ts';
import { plain, printable } from './printable.ts';

// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const OBEYED = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]/;

// finding: SR-N7
test('prints no character that a terminal interprets', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 200 }), (text) => {
      // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
      assert.ok(!OBEYED.test(printable(text).replace(/\u001b\[[0-9;]+m/g, '')), JSON.stringify(printable(text)));
      assert.ok(!OBEYED.test(plain(text)), JSON.stringify(plain(text)));
    }),
  );
});

test('shows titles, cursor moves, colours and reversed text of a server as visible text', () => {
  assert.equal(
    plain('\u001b]0;owned\u0007 \u001b[2J \u001b[31mred \u009b31m \u202eabc\rx'),
    '\\x1b]0;owned\\x07 \\x1b[2J \\x1b[31mred \\x9b31m \\x202eabc\\x0dx',
  );
  assert.equal(plain('두 줄\r\n\tГрюсс 👋'), '두 줄\n\tГрюсс 👋');
});

test('keeps the colours of the command itself and nothing else', () => {
  assert.equal(printable('\u001b[1;31mbad\u001b[0m'), '\u001b[1;31mbad\u001b[0m');
  assert.equal(printable('\u001b[8mhidden\u001b[0m'), '\\x1b[8mhidden\u001b[0m');
});

test('prints JSON for a terminal with the same value', () => {
  fc.assert(
    fc.property(fc.jsonValue({ maxDepth: 2 }), (value) => {
      const text = printableJson(JSON.stringify(value));
      assert.deepEqual(JSON.parse(text), JSON.parse(JSON.stringify(value)));
      assert.ok(!OBEYED.test(text));
    }),
  );
  assert.equal(printableJson(JSON.stringify('\u202e\u009b\u001b')), '"\\u202e\\u009b\\u001b"');
});
