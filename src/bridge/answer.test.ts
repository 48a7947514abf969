// case: CL3
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { answerFor } from './answer.ts';

const answer = (id: string, text: string): string | undefined =>
  answerFor(Buffer.from(id), Buffer.from(text))?.toString('utf8');

test('gives an error without an id the id of the forwarded request', () => {
  const error = '{"code":-32001,"message":"m","data":{"code":"unauthorized"}}';
  const expected = `{"jsonrpc":"2.0","id":"a","error":${error}}`;
  assert.equal(answer('"a"', `{"jsonrpc":"2.0","id":null,"error":${error}}`), expected);
  assert.equal(answer('"a"', `{"jsonrpc":"2.0","error":${error}}`), expected);
});

test('keeps a response with the id of the request unchanged', () => {
  for (const text of [
    '{"jsonrpc":"2.0","id":5,"result":{}}',
    ' {"id":5,"jsonrpc":"2.0","error":{"code":1,"message":"m"}}',
  ])
    assert.equal(answer('5', text), text);
});

test('ignores responses to other requests and messages that are not replies', () => {
  for (const text of [
    '{"jsonrpc":"2.0","id":"5","result":{}}',
    '{"jsonrpc":"2.0","id":6,"error":{"code":1,"message":"m"}}',
    '{"jsonrpc":"2.0","id":5,"method":"ping"}',
    '{"error":{"code":"starting","message":"m"}}',
    '<html></html>',
    '',
  ])
    assert.equal(answer('5', text), undefined, text);
});
