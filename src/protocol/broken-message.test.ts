import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { brokenAnswer, jsonFault } from './broken-message.ts';

const idsIn = (text: string) => brokenAnswer(Buffer.from(text), 100, false).ids;

// case: SV43, SV48, SV49
test('finds the request that an invalid text would have answered', () => {
  const cases: readonly (readonly [string, number[]])[] = [
    ['{"jsonrpc":"2.0","id":7,"result":{"a":NaN}}', [7]],
    ['{"result":{"a":NaN},"jsonrpc":"2.0","id":7}', [7]],
    ['{"result":{"a":NaN},"jsonrpc":"2.0","id":7,"more":1}', [7]],
    ['{"result":{"a":NaN},"id":7,"jsonrpc":"2.0","more":1}', [7]],
    ['{"jsonrpc":"2.0","id":"7","result":{,}}', [7]],
    ['{"id":7,"result":{}}', [7]],
    ['{"jsonrpc":"2.0","id":7,"result":{"content":[{"id":9,"jsonrpc', [7]],
    ["{'jsonrpc': '2.0', 'id': 7, 'result': {'a': None}}", [7]],
    ['log: {"jsonrpc":"2.0","id":7,"result":{}}', [7]],
    ['{"jsonrpc":"2.0","id":7,"result":{"a":"x{"jsonrpc":"2.0","id":8,"result":{"a":"y"}}', [7, 8]],
    ['{"jsonrpc":"2.0","id":{"jsonrpc":"2.0","id":8,"result":{}}', [8]],
    ['[{"jsonrpc":"2.0","id":7,"result":1,"error":2},{"jsonrpc":"2.0","id":8,"result":{}}]', [7, 8]],
    ['{"jsonrpc":"2.0","id":7,"result":{"text":"\\"jsonrpc\\":\\"2.0\\",\\"id\\":8","a":NaN}}', [7]],
    ['{"id":7,"msg":"handling request"}', []],
    ['{"jsonrpc":"2.0","id":7,"method":"ping","params":5,"result":1}', []],
    ['{"jsonrpc":"2.0","id":null,"error":5}', []],
    ['plain text', []],
    ['', []],
  ];
  for (const [text, ids] of cases) assert.deepEqual(idsIn(text), ids, text);
});

const REPLY = '{"jsonrpc":"2.0","id":7,"result":{}}';

test('does not take nested content of a complete text for a response', () => {
  const logged = `{"level":30,"args":${REPLY}}`;
  for (const text of [
    logged,
    ` ${logged} `,
    `call ${logged}`,
    `{"args":[${REPLY}],"result":{}}`,
    `{"level":50,"error":"x"}`,
  ])
    assert.deepEqual(brokenAnswer(Buffer.from(text), 100, false), { isAnswer: false, ids: [] }, text);
});

// finding: SR-A16
test('does not take text that may be quoted for a response', () => {
  const quoting: readonly (readonly [string, number[]])[] = [
    [`{"jsonrpc":"2.0","id":3,"result":{"args":${REPLY},"n":Infinity}}`, [3]],
    [`{"jsonrpc":"2.0","id":3,"result":{"args":${REPLY}`, [3]],
    [`{"jsonrpc":"2.0","result":{"n":NaN,"args":${REPLY}`, []],
    [`call ${REPLY}`, []],
    [`call {"args":${REPLY}, "mo`, []],
    [`{ args: '${REPLY}' }`, []],
    [`{"args":${REPLY},"more":"...`, []],
    [`["call",${REPLY}]`, []],
  ];
  for (const [text, ids] of quoting) assert.deepEqual(brokenAnswer(Buffer.from(text), 100, true).ids, ids, text);
});

test('distinguishes a response without a request id from a log line', () => {
  assert.ok(brokenAnswer(Buffer.from('{"jsonrpc":"2.0","result":{"a":NaN}}'), 100, false).isAnswer);
  for (const text of ['{"level":"info","error":NaN', '{"type":"heartbeat"}', '[DONE]', '{}', 'null', 'error: "result"'])
    assert.ok(!brokenAnswer(Buffer.from(text), 100, false).isAnswer, text);
});

test('never throws, and names each request once', () => {
  const piece = fc.constantFrom(
    '{',
    '}',
    '"id":',
    '7',
    '"8"',
    ',',
    '"jsonrpc":"2.0"',
    '"result":',
    '"error"',
    '\\',
    '"',
    '[',
  );
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 40 }), (pieces) => {
      const { ids } = brokenAnswer(Buffer.from(pieces.join('')), 10, false);
      assert.equal(new Set(ids).size, ids.length);
      assert.ok(ids.every(Number.isSafeInteger));
    }),
  );
});

// case: SV43
test('describes what is wrong with text that is not JSON', () => {
  assert.match(jsonFault(Buffer.from('{"x":NaN}')), /NaN/);
  assert.match(jsonFault(Buffer.from('{"a":1,}')), /position 7/);
  assert.match(jsonFault(Buffer.from('{"a":1}', 'utf16le')), /NUL/);
  assert.equal(jsonFault(Buffer.alloc(70_000, 'x')), 'it is not well-formed JSON');
});
