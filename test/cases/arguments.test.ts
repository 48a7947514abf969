// case: CL22
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { batchChannel, bridgeChannel, type Channel, postChannel, sseChannel } from '../support/client-channels.ts';
import { type RunningHub, startHub, until } from '../support/hub.ts';
import { rpc } from '../support/mcp.ts';
import { type ScriptedServer, startScriptedServer } from '../support/scripted-server.ts';
import { MODERN, stateless } from '../support/stateless.ts';

const EMPTY = ['[]', 'null', '[ ]', '{}'];
const WRONG = ['[1]', '"x"', '""', '7', 'false', 'true'];
const CALLS = { 'tools/call': 'cases_echo', 'prompts/get': 'cases_greet' } as const;

let server: ScriptedServer;
let hub: RunningHub;

before(async () => {
  server = await startScriptedServer();
  hub = await startHub({ config: { mcpServers: { cases: { type: 'streamable-http', url: server.url } } } });
  const isListed = async () => (await rpc(`${hub.url}/mcp`, 'tools/list', {}, hub)).text.includes('cases_echo');
  await until(isListed, 20_000, 'the tools');
});
after(async () => {
  await hub[Symbol.asyncDispose]();
  await server[Symbol.asyncDispose]();
});

/** Params of the last request of this method that reached the server. */
function received(method: string): Record<string, unknown> {
  const { params } = JSON.parse(server.seen.get(method)?.at(-1) ?? '{}') as { params?: Record<string, unknown> };
  return params ?? {};
}

async function judge(channel: Channel): Promise<void> {
  for (const [method, name] of Object.entries(CALLS)) {
    const send = (members: string) =>
      channel.send(`{"jsonrpc":"2.0","id":1,"method":"${method}","params":{"name":"${name}",${members}}}`);
    for (const member of ['arguments', '_meta']) {
      for (const empty of EMPTY) {
        const { json } = await send(`"${member}":${empty}`);
        assert.ok(json.result, `${channel.name}: ${method} ${member} ${empty} → ${JSON.stringify(json)}`);
        assert.deepEqual(received(method)[member], {}, `${channel.name}: ${method} ${member} ${empty}`);
      }
      const before = server.seen.get(method)?.length;
      for (const wrong of WRONG) {
        const { json } = await send(`"${member}":${wrong}`);
        const about = `${channel.name}: ${method} ${member} ${wrong} → ${JSON.stringify(json)}`;
        assert.deepEqual([json.id, json.error?.code], [1, -32602], about);
        assert.match(json.error.message, new RegExp(`${member} must be an object`), about);
      }
      assert.equal(server.seen.get(method)?.length, before, 'no refused call reaches the server');
    }
  }
}

describe('empty arguments and _meta reach the server as {}, and others that are no object are refused', () => {
  test('by POST', async () => {
    await using channel = postChannel(hub);
    await judge(channel);
  });

  test('in a batch', async () => {
    await using channel = batchChannel(hub);
    await judge(channel);
  });

  test('on the SSE endpoint', async () => {
    await using channel = await sseChannel(hub);
    await judge(channel);
  });

  test('through the bridge', async () => {
    await using channel = bridgeChannel(hub);
    await judge(channel);
  });

  test('in the stateless era', async () => {
    for (const empty of [[], null, {}])
      for (const [method, name] of Object.entries(CALLS)) {
        const { json } = await stateless(`${hub.url}/mcp`, method, { name, arguments: empty }, hub);
        assert.ok(json.result, JSON.stringify(json));
        assert.deepEqual(received(method).arguments, {});
      }
    for (const wrong of [[1], 'x', 7]) {
      const { json } = await stateless(`${hub.url}/mcp`, 'tools/call', { name: 'cases_echo', arguments: wrong }, hub);
      assert.deepEqual([json.id, json.error?.code], [1, -32602], JSON.stringify(json));
    }
  });
});

test('the context of a completion and an empty filter of subscriptions count as {}', async () => {
  const ref = { type: 'ref/prompt', name: 'cases_greet' };
  for (const context of [[], null]) {
    const params = { ref, argument: { name: 'a', value: '' }, context };
    const { json } = await rpc(`${hub.url}/mcp`, 'completion/complete', params, hub);
    assert.ok(json.result, JSON.stringify(json));
    assert.deepEqual(received('completion/complete').context, {});
  }
  const wrong = await stateless(`${hub.url}/mcp`, 'subscriptions/listen', { notifications: 'x' }, hub);
  assert.equal(wrong.json.error.code, -32602);
});

test('a cursor that is null or empty is none, in every list', async () => {
  for (const method of ['tools/list', 'prompts/list', 'resources/list', 'resources/templates/list']) {
    const { json: all } = await rpc(`${hub.url}/mcp`, method, {}, hub);
    for (const cursor of [null, '']) {
      const { json } = await rpc(`${hub.url}/mcp`, method, { cursor }, hub);
      assert.deepEqual(json, all, `${method} ${cursor}`);
      const { json: modern } = await stateless(`${hub.url}/mcp`, method, { cursor }, hub);
      assert.ok(modern.result, `${MODERN} ${method} ${JSON.stringify(modern)}`);
    }
    for (const cursor of ['x', 7, [], {}]) {
      const { json } = await rpc(`${hub.url}/mcp`, method, { cursor }, hub);
      assert.equal(json.error?.code, -32602, `${method} ${cursor}`);
    }
  }
});

test('initialize takes any capabilities and clientInfo', async () => {
  for (const odd of ['[]', 'null', '{}', '"x"', '7', '[1]', '{"roots":[]}', '{"roots":null,"sampling":false}'])
    for (const member of ['capabilities', 'clientInfo']) {
      const text = `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","${member}":${odd}}}`;
      const { json } = await postChannel(hub).send(text);
      assert.equal(json.result?.protocolVersion, '2025-11-25', `${member} ${odd} → ${JSON.stringify(json)}`);
    }
});
