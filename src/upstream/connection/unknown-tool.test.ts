import assert from 'node:assert/strict';
import { test } from 'node:test';
import { saysUnknownTool } from './unknown-tool.ts';

const said = (kind: 'result' | 'error', json: string) => saysUnknownTool({ kind, json: Buffer.from(json) });

// case: SV50
test('an answer that a tool is not known is recognised in the forms that libraries give it', () => {
  for (const json of [
    '{"code":-32602,"message":"Unknown tool: echo"}',
    '{"code":-32602,"message":"MCP error -32602: Tool echo not found"}',
    '{"code":-32601,"message":"Tool not found"}',
  ])
    assert.ok(said('error', json), json);
  assert.ok(said('result', '{"content":[{"type":"text","text":"Unknown tool: echo"}],"isError":true}'));
  assert.ok(
    said('result', '{"content":[{"type":"text","text":"MCP error -32602: Tool echo not found"}],"isError":true}'),
  );
  for (const json of ['{"code":-32602,"message":"x is required"}', '{"code":-32603,"message":"Unknown tool: echo"}'])
    assert.equal(said('error', json), false, json);
  assert.equal(said('result', '{"content":[{"type":"text","text":"Unknown tool: hammer"}]}'), false, 'a good result');
  assert.equal(
    said('result', `{"content":[{"type":"text","text":"${'x'.repeat(2000)}unknown tool"}],"isError":true}`),
    false,
  );
});
