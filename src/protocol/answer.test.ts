import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { isRefusal } from '../kernel/outcome.ts';
import { answerScan, replyFault, replyIdsIn, replyNumber, scanAnswer, scanAnswers } from './answer.ts';

const OPTIONS = { maxDepth: 64, maxIdBytes: 256 };

function faultIn(text: Buffer): string | undefined {
  const envelope = scanAnswer(text, OPTIONS);
  return isRefusal(envelope) ? envelope.message : replyFault(envelope);
}

// finding: SR-N8
test('accepts exactly the replies that are valid JSON in UTF-8', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), fc.boolean(), (bytes, isLong) => {
      const text = Buffer.concat([
        ...[Buffer.from('{"jsonrpc":"2.0","id":1,"result":{"a":"'), Buffer.from(isLong ? 'x'.repeat(100) : '')],
        ...[Buffer.from(bytes), Buffer.from('"}}')],
      ]);
      let isValid = true;
      try {
        // A second member of the same name is refused for other reasons.
        const message = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(text)) as Record<string, unknown>;
        isValid = Object.keys(message).length === 3;
      } catch {
        isValid = false;
      }
      if (isValid) assert.equal(faultIn(text), undefined);
      else assert.notEqual(faultIn(text), undefined);
    }),
    { numRuns: 2000 },
  );
});

test('a message with a string that is not valid keeps its envelope and names the fault', () => {
  const text = '{"jsonrpc":"2.0","id":7,"result":{"a":"\\q"}}';
  const envelope = scanAnswer(Buffer.from(text), OPTIONS);
  assert.ok(!isRefusal(envelope));
  assert.equal(envelope.fault, 'a string holds what JSON does not allow');
  const bytes = Buffer.from(text.replace('\\q', '\xff'), 'latin1');
  assert.equal(faultIn(bytes), 'it is not UTF-8');
});

test('finds whose reply a broken text would have been', () => {
  const cases: readonly (readonly [string, number[]])[] = [
    ['{"jsonrpc":"2.0","id":7,"result":{"a":NaN}}', [7]],
    ['{"result":{"a":NaN},"jsonrpc":"2.0","id":7}', [7]],
    ['{"jsonrpc":"2.0","id":"7","result":{,}}', [7]],
    ['{"id":7,"result":{}}', [7]],
    ['[{"jsonrpc":"2.0","id":7,"result":1,"error":2},{"jsonrpc":"2.0","id":8,"result":{}}]', [7, 8]],
    ['{"id":7,"msg":"handling request"}', []],
    ['{"jsonrpc":"2.0","id":7,"method":"ping","params":5,"result":1}', []],
    ['{"jsonrpc":"2.0","id":null,"error":5}', []],
    ['plain text', []],
    ['', []],
  ];
  for (const [text, ids] of cases) assert.deepEqual(replyIdsIn(Buffer.from(text), 100), ids, text);
});

test('one broken message of a batch spoils only itself', () => {
  const text = '[{"jsonrpc":"2.0","id":1,"result":{}},{"jsonrpc":"2.0","id":2,"result":{"a":"\\q"}}]';
  const found = scanAnswers(Buffer.from(text), 10, OPTIONS);
  assert.ok(!isRefusal(found));
  assert.deepEqual(
    found.map((one) => (isRefusal(one) ? one.code : replyFault(one))),
    [undefined, 'a string holds what JSON does not allow'],
  );
});

test('reads ids that are numbers, also as strings, and nothing else', () => {
  const of = (text: string) => replyNumber(Buffer.from(text), { at: 0, end: text.length });
  assert.deepEqual(['5', '"5"', '5.0', '-5', 'null', '"a"', '1e3'].map(of), [5, 5, ...Array(5).fill(undefined)]);
});

test('an error has one code, in digits', () => {
  const faultOf = (error: string) => faultIn(Buffer.from(`{"jsonrpc":"2.0","id":1,"error":${error}}`));
  assert.equal(faultOf('{"code":-32042,"message":"m"}'), undefined);
  for (const error of [
    '{"code":-3.2042e4,"message":"m"}',
    '{"code":-32042.0,"message":"m"}',
    '{"code":1,"code":-32042,"message":"m"}',
    '{"code":1,"message":"m","cod\\u0065":-32042}',
    '{"code":1,"message":"m","message":"n"}',
  ])
    assert.notEqual(faultOf(error), undefined, error);
});

test('a message of more values or members than allowed is refused, and its id is found all the same', () => {
  const options = answerScan({ bodyDepth: 64, idBytes: 256, answerValues: 1000, paramsMembers: 8 });
  const many = `[${'1,'.repeat(1000)}1]`;
  for (const text of [
    `{"jsonrpc":"2.0","id":7,"result":{"a":${many}}}`,
    `{"jsonrpc":"2.0","result":{"a":${many}},"id":7}`,
    `{"jsonrpc":"2.0","id":7,"result":{${Array.from({ length: 2000 }, (_, at) => `"a${at}":1`).join(',')}}}`,
  ]) {
    const bytes = Buffer.from(text);
    assert.ok(isRefusal(scanAnswer(bytes, options)), text.slice(0, 60));
    assert.deepEqual(replyIdsIn(bytes, 100), [7]);
  }
  const params = (count: number) => Array.from({ length: count }, (_, at) => `"a${at}":1`).join(',');
  const notice = (count: number) =>
    scanAnswer(Buffer.from(`{"jsonrpc":"2.0","method":"m","params":{${params(count)}}}`), options);
  assert.equal(isRefusal(notice(8)), false);
  assert.ok(isRefusal(notice(9)));
});
