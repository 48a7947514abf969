import assert from 'node:assert/strict';
import { test } from 'node:test';
import { limitsFrom } from '../config/limits.ts';
import { isRefusal } from '../kernel/outcome.ts';
import { answerScan, replyFault, scanAnswer } from './answer.ts';
import { filledAnswer, filledResult } from './empty-result.ts';

const OPTIONS = answerScan(limitsFrom({}));

/** What the hub makes of this result of a call of `method`. */
function filled(method: string, result: string, head = ''): string {
  const envelope = scanAnswer(Buffer.from(`${head}{"jsonrpc":"2.0","id":1,"result":${result}}`), OPTIONS);
  assert.ok(!isRefusal(envelope));
  assert.equal(replyFault(envelope), undefined);
  return filledResult(method, envelope).toString('utf8');
}

test('a result that is null or an empty array is the empty result of its method', () => {
  for (const empty of ['null', '[]', '[ ]']) {
    assert.equal(filled('ping', empty), '{}');
    assert.equal(filled('tools/call', empty), '{"content":[]}');
    assert.equal(filled('prompts/get', empty), '{"messages":[]}');
    assert.equal(filled('resources/read', empty), '{"contents":[]}');
    assert.equal(filled('completion/complete', empty), '{"completion":{"values":[]}}');
    assert.equal(filledAnswer('roots/list', Buffer.from(empty)).toString(), '{"roots":[]}');
  }
});

test('members that are null or of the wrong empty kind are filled or left out', () => {
  for (const [given, expected] of [
    ['{"content":null}', '{"content":[]}'],
    ['{"content":{}}', '{"content":[]}'],
    ['{ "content" : null , "isError" : null }', '{"content" : []}'],
    ['{"_meta":[],"content":[]}', '{"_meta":{},"content":[]}'],
    ['{"_meta":null,"content":[]}', '{"content":[]}'],
    ['{"content":[],"structuredContent":null,"_meta":null}', '{"content":[]}'],
    ['{"content":[],"structuredContent":[],"isError":null}', '{"content":[],"structuredContent":{}}'],
    ['{"_meta":null}', '{}'],
  ] as const) {
    assert.equal(JSON.stringify(JSON.parse(filled('tools/call', given))), JSON.stringify(JSON.parse(expected)), given);
    assert.equal(filled('tools/call', given, '\n\t'), filled('tools/call', given), `${given} in a longer text`);
  }
  assert.equal(filled('completion/complete', '{"completion":null}'), '{"completion":{"values":[]}}');
});

test('every other result keeps its bytes', () => {
  for (const result of [
    '{}',
    '{ "content" : [ ] , "structuredContent":{}, "_meta":{} }',
    '{"other":null,"more":[],"content":[{"text":null}]}',
    '{"structuredContent":{"content":null,"_meta":[]}}',
  ])
    assert.equal(filled('tools/call', result), result);
});
