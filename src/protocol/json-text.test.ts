import assert from 'node:assert/strict';
import { test } from 'node:test';
import { jsonBytes, jsonText, wellFormedText } from './json-text.ts';
import { errorFrame } from './write.ts';

test('writes U+FFFD where a text was cut inside a surrogate pair', () => {
  const cut = 'a\u{1f600}'.slice(0, 2);
  assert.equal(
    jsonText({ cut, whole: '\u{1f600}', spelled: '\\ud83d' }),
    '{"cut":"a\\ufffd","whole":"\u{1f600}","spelled":"\\\\ud83d"}',
  );
  assert.deepEqual(JSON.parse(jsonBytes([`${cut}\\${cut}`]).toString('utf8')), ['a\ufffd\\a\ufffd']);
});

test('writes the same as JSON.stringify where nothing is cut', () => {
  const value = { a: [1, null, true, '\n"\\\u2028\u0000한'], b: { c: -0.5 } };
  assert.equal(jsonText(value), JSON.stringify(value));
});

test('replaces lone surrogate escapes in JSON text', () => {
  const plain = '{"a":"\\u0041\\n\\ud83d\\ude00 한"}';
  assert.equal(wellFormedText(plain), plain);
  for (const half of ['\\ud83d', '\\uD83D', '\\uDe00']) assert.equal(wellFormedText(`["${half}"]`), '["\\ufffd"]');
});

test('writes the id of an error without lone surrogates, wherever it came from', () => {
  const frame = errorFrame(Buffer.from('"a\\ud83d\\n"'), { code: 1, message: 'm' });
  assert.equal(frame.toString('utf8'), '{"jsonrpc":"2.0","id":"a\\ufffd\\n","error":{"code":1,"message":"m"}}');
});
