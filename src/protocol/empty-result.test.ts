import assert from 'node:assert/strict';
import { test } from 'node:test';
import { limitsFrom } from '../config/limits.ts';
import { isRefusal } from '../model/outcome.ts';
import { answerScan, replyFault, scanAnswer } from './answer.ts';
import { filledAnswer, filledResult } from './empty-result.ts';

const OPTIONS = answerScan(limitsFrom({}));

/** Returns the hub's version of this result of a call of `method`. */
function filled(method: string, result: string, head = ''): string {
  const envelope = scanAnswer(Buffer.from(`${head}{"jsonrpc":"2.0","id":1,"result":${result}}`), OPTIONS);
  assert.ok(!isRefusal(envelope));
  assert.equal(replyFault(envelope), undefined);
  return filledResult(method, envelope).toString('utf8');
}

test('replaces a null or empty-array result by the empty result of its method', () => {
  for (const empty of ['null', '[]', '[ ]']) {
    assert.equal(filled('ping', empty), '{}');
    assert.equal(filled('tools/call', empty), '{"content":[]}');
    assert.equal(filled('prompts/get', empty), '{"messages":[]}');
    assert.equal(filled('resources/read', empty), '{"contents":[]}');
    assert.equal(filled('completion/complete', empty), '{"completion":{"values":[]}}');
    assert.equal(filledAnswer('roots/list', Buffer.from(empty)).toString(), '{"roots":[]}');
  }
});

test('fills or removes members that are null or have the wrong empty type', () => {
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

test('fills or removes empty members of items, and removes null items', () => {
  const text = '{"type":"text","text":"a"';
  for (const [method, given, expected] of [
    ['tools/call', `{"content":[${text},"annotations":[],"_meta":null}]}`, `{"content":[${text},"annotations":{}}]}`],
    ['tools/call', `{"content":[${text},"annotations":null,"_meta":[]}]}`, `{"content":[${text},"_meta":{}}]}`],
    [
      'tools/call',
      `{"_meta":[],"content":[null,${text},"annotations":{"audience":null,"priority":1}},null],"isError":null}`,
      `{"_meta":{},"content":[${text},"annotations":{"priority":1}}]}`,
    ],
    ['tools/call', '{"content":[null]}', '{"content":[]}'],
    ['tools/call', '{"content":[{"type":"text","text":null}]}', '{"content":[{"type":"text","text":""}]}'],
    [
      'tools/call',
      '{"content":[{"type":"resource","resource":{"uri":"a:b","mimeType":null,"text":null,"blob":"YQ==","_meta":[]}}]}',
      '{"content":[{"type":"resource","resource":{"uri":"a:b","blob":"YQ==","_meta":{}}}]}',
    ],
    [
      'tools/call',
      '{"content":[{"type":"resource_link","uri":"a:b","name":"c","title":null,"size":null,"icons":null}]}',
      '{"content":[{"type":"resource_link","uri":"a:b","name":"c"}]}',
    ],
    ['tools/call', `{"content":[${text},"\\u005fmeta":null}]}`, `{"content":[${text}}]}`],
    [
      'prompts/get',
      `{"messages":[{"role":"user","content":${text},"_meta":null}}]}`,
      `{"messages":[{"role":"user","content":${text}}}]}`,
    ],
    [
      'resources/read',
      '{"contents":[{"uri":"a:b","text":null,"blob":null},{"uri":"a:c","text":"x","mimeType":null}]}',
      '{"contents":[{"uri":"a:b","text":""},{"uri":"a:c","text":"x"}]}',
    ],
    [
      'completion/complete',
      '{"completion":{"values":null,"total":null,"hasMore":false}}',
      '{"completion":{"values":[],"hasMore":false}}',
    ],
  ] as const) {
    assert.equal(filled(method, given), expected);
    assert.equal(filled(method, given, '\n\t'), expected, `${given} in a longer text`);
  }
});

test('keeps the bytes of every other result', () => {
  for (const result of [
    '{}',
    '{ "content" : [ ] , "structuredContent":{}, "_meta":{} }',
    '{"other":null,"more":[],"content":[{"own":null,"more":[]}]}',
    '{"structuredContent":{"content":null,"_meta":[]}}',
    '{ "content" : [ { "type":"text" , "text":"a", "_meta":{"x":null,"annotations":[]} } ] }',
    '{"content":[{"type":"text","text":"\\"_meta\\":null","annotations":{"audience":[]}}]}',
    `{"content":[${'{"_meta":null},'.repeat(1000)}{}]}`,
    `{"content":[{"_meta":null,"text":"${'x'.repeat(1024 * 1024)}"}]}`,
  ])
    assert.equal(filled('tools/call', result), result);
});
