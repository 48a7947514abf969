// case: CL30
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { outputLine } from './output.ts';

const lineOf = (latin1: string) => outputLine(Buffer.from(latin1, 'latin1'))?.toString('utf8');

test('writes a message on one line, and keeps a single line unchanged', () => {
  const message = Buffer.from('{"jsonrpc":"2.0","id":1,"result":{"a":"b\\n"}}');
  assert.equal(outputLine(message), message);
  assert.equal(lineOf('{"jsonrpc":"2.0",\r\n"id":1,\n"result":{}}'), '{"jsonrpc":"2.0",  "id":1, "result":{}}');
});

test('repairs invalid UTF-8 and lone surrogates', () => {
  const read = JSON.parse(lineOf('{"jsonrpc":"2.0","id":1,"result":{"a":"\xc7\xd1 \\ud83d"}}') ?? '');
  assert.deepEqual(read.result, { a: '\ufffd\ufffd \ufffd' });
});

test('writes an error for an invalid reply, and nothing for text that is not a message', () => {
  for (const text of ['{"jsonrpc":"2.0","id":7,"result":{"a":"x\ny"}}', '{"jsonrpc":"2.0","id":7,"result":5}']) {
    const { id, error } = JSON.parse(lineOf(text) ?? '');
    assert.deepEqual([id, error.code], [7, -32603]);
    assert.match(error.message, /not valid JSON-RPC/);
  }
  for (const text of [
    '',
    'no',
    '{"jsonrpc":"2.0","id":1,"result":{',
    '{"jsonrpc":"2.0","method":"m","params":{"a":"\t"}}',
  ])
    assert.equal(lineOf(text), undefined, text);
});
