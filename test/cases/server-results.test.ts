/**
 * Servers that write empty what should be absent, or the other way round: lists and results reach clients as they were
 * meant, and both official SDKs accept them.
 */
// case: SV19, SV29
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import * as second from '@modelcontextprotocol/core';
import * as first from '@modelcontextprotocol/sdk/types.js';
import { type RunningHub, startHub, until } from '../support/hub.ts';
import { rpc } from '../support/mcp.ts';
import { type Script, type ScriptedServer, scriptedProgram, startScriptedServer } from '../support/scripted-server.ts';

// biome-ignore lint/suspicious/noExplicitAny: answers are looked into by the tests
type Loose = any;

const HELLO = '"protocolVersion":"2025-11-25"';
const tool = (members: string) => `{"tools":[{"name":"echo",${members}}]}`;
const initialize = (members: string): Script => ({ initialize: `{${HELLO}${members}}` });

/** A server of the stateless era. */
function modern(script: Script, capabilities = '{"tools":{},"prompts":{}}'): Script {
  return {
    initialize: '{"jsonrpc":"2.0","id":$ID,"error":{"code":-32601,"message":"Method not found"}}',
    'server/discover': `{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":${capabilities},"_meta":[]}`,
    ...script,
  };
}

/** Null and empty arrays in items: their clients reject such a result as a whole. */
const EMPTY_ITEMS = `{"content":[null,${[
  '{"type":"text","text":"a","annotations":[],"_meta":null}',
  '{"type":"image","data":"YQ==","mimeType":"image/png","annotations":{"audience":null,"lastModified":null}}',
  '{"type":"resource","resource":{"uri":"a:b","mimeType":null,"text":null,"blob":null,"_meta":[]}}',
  '{"type":"resource_link","uri":"a:b","name":"c","title":null,"size":null,"icons":null,"annotations":{"priority":1}}',
].join()}],"structuredContent":{"kept":null}}`;

/** Servers that write things empty, and what a client sees of each. */
const SERVERS: Readonly<Record<string, { readonly script: Script; judge(seen: Seen): void }>> = {
  cursor: {
    script: { 'tools/list': '{"tools":[{"name":"echo","inputSchema":{"type":"object"}}],"nextCursor":""}' },
    judge: ({ tools }) => assert.deepEqual(names(tools), ['echo']),
  },
  nullcursor: {
    script: { 'tools/list': '{"tools":[{"name":"echo","inputSchema":{"type":"object"}}],"nextCursor":null}' },
    judge: ({ tools }) => assert.deepEqual(names(tools), ['echo']),
  },
  nulltools: { script: { 'tools/list': '{"tools":null}' }, judge: isReadyWithPrompt },
  notools: { script: { 'tools/list': '{}' }, judge: isReadyWithPrompt },
  objecttools: { script: { 'tools/list': '{"tools":{}}' }, judge: isReadyWithPrompt },
  nullresult: { script: { 'tools/list': 'null' }, judge: isReadyWithPrompt },
  arrayresult: { script: { 'tools/list': '[]' }, judge: isReadyWithPrompt },
  nullerror: {
    script: {
      initialize: `{"jsonrpc":"2.0","id":$ID,"result":{${HELLO},"capabilities":{"tools":{}}},"error":null}`,
      'tools/call': '{"jsonrpc":"2.0","id":$ID,"result":{"content":[{"type":"text","text":"yes"}]},"error":null}',
    },
    judge: ({ call }) => assert.deepEqual(call.result, { content: [{ type: 'text', text: 'yes' }] }),
  },
  nullbeside: {
    script: { 'tools/call': '{"jsonrpc":"2.0","id":$ID,"result":null,"error":{"code":-32029,"message":"slow down"}}' },
    judge: ({ call }) => assert.deepEqual(call.error, { code: -32029, message: 'slow down' }),
  },
  nocaps: { script: initialize(''), judge: ({ tools }) => assert.deepEqual(names(tools), ['echo']) },
  nullcaps: {
    script: initialize(',"capabilities":null,"serverInfo":null'),
    judge: ({ tools }) => assert.deepEqual(names(tools), ['echo']),
  },
  arraycaps: {
    script: initialize(',"capabilities":[],"serverInfo":[]'),
    judge: ({ tools }) => assert.deepEqual(names(tools), ['echo']),
  },
  objectcaps: {
    script: initialize(',"capabilities":{}'),
    judge: ({ tools }) => assert.deepEqual(names(tools), ['echo']),
  },
  arraycap: {
    script: initialize(',"capabilities":{"tools":[],"prompts":[],"resources":[]}'),
    judge: ({ tools, prompts }) => assert.deepEqual([names(tools), names(prompts)], [['echo'], ['greet']]),
  },
  noschema: {
    script: { 'tools/list': '{"tools":[{"name":"echo"}]}' },
    judge: ({ tools }) => assert.deepEqual(tools[0].inputSchema, { type: 'object' }),
  },
  arrayschema: {
    script: { 'tools/list': tool('"inputSchema":[],"outputSchema":[],"annotations":[],"_meta":[],"title":null') },
    judge: ({ tools, call }) => {
      const { name: _, ...others } = tools[0];
      assert.deepEqual(others, { inputSchema: { type: 'object' }, title: 'echo' });
      assert.ok(call.result, JSON.stringify(call));
    },
  },
  nullschema: {
    script: { 'tools/list': tool('"inputSchema":null,"outputSchema":null,"annotations":null,"_meta":null') },
    judge: ({ tools }) => assert.deepEqual(tools[0].inputSchema, { type: 'object' }),
  },
  emptyproperties: {
    script: {
      'tools/list': tool(
        '"inputSchema":{"type":"object","properties":{"x":{"type":"object","properties":[]},"y":[]},"required":{}}',
      ),
    },
    judge: ({ tools }) =>
      assert.deepEqual(tools[0].inputSchema, {
        type: 'object',
        properties: { x: { type: 'object', properties: {} }, y: {} },
      }),
  },
  nullcontent: {
    script: { 'tools/call': '{"content":null,"isError":null,"structuredContent":null,"_meta":[]}' },
    judge: ({ call }) => assert.deepEqual(call.result, { content: [], _meta: {} }),
  },
  nullcall: { script: { 'tools/call': 'null' }, judge: ({ call }) => assert.deepEqual(call.result, { content: [] }) },
  arraycall: { script: { 'tools/call': '[]' }, judge: ({ call }) => assert.deepEqual(call.result, { content: [] }) },
  emptyprompt: {
    script: {
      'prompts/get': '{"messages":null,"description":null}',
      'prompts/list': '{"prompts":[{"name":"greet","arguments":{}}]}',
    },
    judge: ({ prompt }) => assert.deepEqual(prompt.result, { messages: [] }),
  },
  emptyresource: {
    script: { 'resources/read': '{"contents":null}', 'resources/list': '{"resources":null,"nextCursor":""}' },
    judge: ({ tools }) => assert.deepEqual(names(tools), ['echo']),
  },
  emptyitems: {
    script: {
      'tools/call': EMPTY_ITEMS,
      'prompts/get':
        '{"messages":[{"role":"user","content":{"type":"text","text":null,"annotations":null,"_meta":[]}}]}',
      'prompts/list':
        '{"prompts":[{"name":"greet","title":null,"description":null,"arguments":null,"icons":null,"_meta":[]}]}',
      'tools/list': tool('"inputSchema":{"type":"object"},"icons":null,"execution":[],"annotations":null,"_meta":null'),
    },
    judge: ({ tools, prompts, call, prompt }) => {
      assert.deepEqual(call.result, {
        content: [
          { type: 'text', text: 'a', annotations: {} },
          { type: 'image', data: 'YQ==', mimeType: 'image/png', annotations: {} },
          { type: 'resource', resource: { uri: 'a:b', text: '', _meta: {} } },
          { type: 'resource_link', uri: 'a:b', name: 'c', annotations: { priority: 1 } },
        ],
        structuredContent: { kept: null },
      });
      for (const { CallToolResultSchema, GetPromptResultSchema, ToolSchema, PromptSchema } of [first, second]) {
        CallToolResultSchema.parse(call.result);
        GetPromptResultSchema.parse(prompt.result);
        ToolSchema.parse(tools[0]);
        PromptSchema.parse(prompts[0]);
      }
      assert.throws(() => first.CallToolResultSchema.parse(JSON.parse(EMPTY_ITEMS)));
    },
  },
  modern: {
    script: modern({
      'tools/list': '{"resultType":null,"tools":[{"name":"echo","inputSchema":[]}],"nextCursor":"","ttlMs":0}',
      'tools/call': '{"resultType":null,"content":null,"_meta":[],"structuredContent":null}',
    }),
    judge: ({ tools, call }) => {
      assert.deepEqual(tools[0].inputSchema, { type: 'object' });
      assert.deepEqual(call.result, { content: [], _meta: {} });
    },
  },
  modernnull: {
    script: modern({ 'tools/list': '[]', 'tools/call': 'null' }),
    judge: isReadyWithPrompt,
  },
  textid: {
    script: { 'tools/call': '{"jsonrpc":"2.0","id":"$ID","result":{"content":[]}}' },
    judge: ({ call }) => assert.deepEqual(call.result, { content: [] }, JSON.stringify(call)),
  },
};

interface Seen {
  readonly tools: Loose[];
  readonly prompts: Loose[];
  readonly call: Loose;
  readonly prompt: Loose;
}

function names(rows: Loose[]): string[] {
  return rows.map(({ name }) => name.slice(name.lastIndexOf('_') + 1));
}

/** The lists beside an empty list of tools are shown. */
function isReadyWithPrompt({ tools, prompts }: Seen): void {
  assert.deepEqual([names(tools), names(prompts)], [[], ['greet']]);
}

for (const transport of ['HTTP', 'stdio'] as const)
  describe(`what a server writes empty counts as absent, over ${transport}`, { timeout: 60_000 }, () => {
    let hub: RunningHub;
    const servers: ScriptedServer[] = [];
    // A process for each server takes long to start; over stdio one of each kind is enough.
    const chosen = Object.entries(SERVERS).filter(
      ([name]) =>
        transport === 'HTTP' ||
        ['cursor', 'nulltools', 'nullerror', 'arraycaps', 'arraycall', 'emptyitems', 'textid'].includes(name),
    );

    before(async () => {
      const mcpServers: Record<string, object> = {};
      for (const [name, { script }] of chosen) {
        if (transport === 'stdio') mcpServers[name] = scriptedProgram(script);
        else {
          const server = await startScriptedServer(script);
          servers.push(server);
          mcpServers[name] = { type: 'streamable-http', url: server.url };
        }
      }
      hub = await startHub({ config: { mcpServers } });
      const areReady = async () => {
        const { json } = await rpc(`${hub.url}/mcp`, 'tools/list', {}, hub);
        const states: Loose[] = Object.values(json.result?._meta?.['mcphub/servers'] ?? {});
        return states.length === chosen.length && states.every(({ state }) => state === 'ready');
      };
      await until(areReady, 30_000, 'the servers');
    });
    after(async () => {
      await hub[Symbol.asyncDispose]();
      await Promise.all(servers.map((server) => server[Symbol.asyncDispose]()));
    });

    for (const [name, { judge }] of chosen)
      test(name, async () => {
        const url = `${hub.url}/mcp/${name}`;
        const ask = async (method: string, params: object): Promise<Loose> =>
          (await rpc(url, method, params, hub)).json;
        judge({
          tools: (await ask('tools/list', {})).result.tools,
          prompts: (await ask('prompts/list', {})).result.prompts,
          call: await ask('tools/call', { name: `${name}_echo`, arguments: {} }),
          prompt: await ask('prompts/get', { name: `${name}_greet` }),
        });
      });
  });
