/**
 * Schemas and results that are legal for their server's library only, and what goes to servers: legal for clients and
 * servers of both eras.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import * as second from '@modelcontextprotocol/core';
import * as first from '@modelcontextprotocol/sdk/types.js';
import { AjvJsonSchemaValidator } from '@modelcontextprotocol/sdk/validation/ajv';
import { type RunningHub, startHub, until } from '../support/hub.ts';
import { callTool, rpc } from '../support/mcp.ts';
import { type Script, type ScriptedServer, scriptedProgram, startScriptedServer } from '../support/scripted-server.ts';
import { stateless } from '../support/stateless.ts';

// biome-ignore lint/suspicious/noExplicitAny: answers are looked into by the tests
type Loose = any;

/** By server: what stands as inputSchema, and what a client must see. */
const INPUTS: Readonly<Record<string, readonly [given: string, shown: object]>> = {
  whole: ['[]', { type: 'object' }],
  nested: [
    '{"type":"object","properties":{"x":{"type":"object","properties":[]},"y":[]}}',
    { type: 'object', properties: { x: { type: 'object', properties: {} }, y: {} } },
  ],
  spaced: [
    '{"type":"object","properties":{"x":{"type":"object","properties":[ ],"patternProperties":[],"$defs":[  ]}}}',
    { type: 'object', properties: { x: { type: 'object', properties: {}, patternProperties: {}, $defs: {} } } },
  ],
  nulls: [
    '{"type":"object","required":null,"properties":{"x":{"type":"object","required":null,"properties":null,"items":null}}}',
    { type: 'object', properties: { x: { type: 'object' } } },
  ],
  oldrequired: [
    '{"type":"object","properties":{"x":{"type":"string","required":true,"default":null}}}',
    { type: 'object', properties: { x: { type: 'string', default: null } } },
  ],
  definitions: [
    '{"type":"object","definitions":{"a":[]},"properties":{"x":{"anyOf":[[],{"$ref":"#/definitions/a"}],"items":[]}}}',
    {
      type: 'object',
      definitions: { a: {} },
      properties: { x: { anyOf: [{}, { $ref: '#/definitions/a' }], items: {} } },
    },
  ],
};

/** Output schemas that clients of 2025 refuse. */
const OUTPUTS: readonly string[] = [
  '{"$ref":"#/$defs/a","$defs":{"a":{"type":"object"}}}',
  '{"anyOf":[{"type":"object"}]}',
  '{"properties":{"n":{"type":"number"}}}',
  '{"type":["object","null"]}',
  '{}',
  'true',
];

const tool = (members: string): Script => ({ 'tools/list': `{"tools":[{"name":"echo",${members}}]}` });

describe('schemas and results are legal for every client', { timeout: 60_000 }, () => {
  let hub: RunningHub;
  const servers: Record<string, ScriptedServer> = {};

  const listed = async (server: string): Promise<Loose> =>
    (await rpc(`${hub.url}/mcp/${server}`, 'tools/list', {}, { key: hub.key })).json.result;

  before(async () => {
    const scripts: Record<string, Script> = {
      plain: {},
      odd: {
        ...tool('"inputSchema":{"type":"object"},"outputSchema":{"type":"array"}'),
        'tools/call': '{"content":[],"structuredContent":[1]}',
      },
      headers: tool(
        '"inputSchema":{"type":"object","properties":{"x":{"type":"object","x-mcp-header":"not a name"},"r":{"type":"string","x-mcp-header":"Region"}}}',
      ),
    };
    for (const [name, [given]] of Object.entries(INPUTS)) scripts[name] = tool(`"inputSchema":${given}`);
    for (const [at, output] of OUTPUTS.entries())
      scripts[`out${at}`] = {
        ...tool(`"inputSchema":{"type":"object"},"outputSchema":${output}`),
        'tools/call': '{"content":[],"structuredContent":{"n":1}}',
      };
    const mcpServers: Record<string, object> = { overstdio: scriptedProgram(scripts.nested as Script) };
    for (const [name, script] of Object.entries(scripts)) {
      servers[name] = await startScriptedServer(script);
      mcpServers[name] = { type: 'streamable-http', url: servers[name].url };
    }
    hub = await startHub({ config: { mcpServers } });
    for (const name of Object.keys(mcpServers))
      await until(async () => (await listed(name)).tools.length === 1, 20_000, `${name} is listed`);
  });
  after(async () => {
    await hub?.[Symbol.asyncDispose]();
    for (const server of Object.values(servers)) await server[Symbol.asyncDispose]();
  });

  // case: SV54
  test('empty arrays and null in the place of objects and lists are mended at every depth of a schema', async () => {
    for (const name of [...Object.keys(INPUTS), 'overstdio']) {
      const [, shown] = INPUTS[name] ?? INPUTS.nested ?? [];
      const result = await listed(name);
      assert.deepEqual(result.tools[0].inputSchema, shown, name);
      assert.ok(first.ListToolsResultSchema.safeParse(result).success, name);
      assert.ok(second.ListToolsResultSchema.safeParse(result).success, name);
      new AjvJsonSchemaValidator().getValidator(result.tools[0].inputSchema);
    }
  });

  // case: SV44
  test('an object in structuredContent reaches clients of both eras, whatever the output schema was', async () => {
    for (const at of OUTPUTS.keys()) {
      const name = `out${at}_echo`;
      const old = await callTool(`${hub.url}/mcp`, name, {}, { key: hub.key });
      assert.deepEqual(old.json.result, { content: [], structuredContent: { n: 1 } }, OUTPUTS[at]);
      const modern = await stateless(`${hub.url}/mcp`, 'tools/call', { name, arguments: {} }, { key: hub.key });
      assert.deepEqual(modern.json.result.structuredContent, { n: 1 }, OUTPUTS[at]);
    }
    const odd = await callTool(`${hub.url}/mcp`, 'odd_echo', {}, { key: hub.key });
    assert.deepEqual(odd.json.result, { content: [] }, 'what is no object would cost the whole result');
  });

  // case: SV67
  test('a server of 2025 gets no _meta that its client of 2026 has not sent', async () => {
    const paramsOf = async (params: Loose): Promise<Loose> => {
      const { json } = await stateless(
        `${hub.url}/mcp`,
        'tools/call',
        { name: 'plain_echo', ...params },
        { key: hub.key },
      );
      assert.equal(json.result?.content[0].text, 'called');
      return JSON.parse(servers.plain?.seen.get('tools/call')?.at(-1) ?? '').params;
    };
    assert.deepEqual(await paramsOf({ arguments: { a: 1 } }), { name: 'echo', arguments: { a: 1 } });
    assert.deepEqual(await paramsOf({}), { name: 'echo' });
    const own = await paramsOf({ arguments: {}, _meta: { 'example.org/mine': 1 } });
    assert.deepEqual(own, { name: 'echo', arguments: {}, _meta: { 'example.org/mine': 1 } });
  });

  // case: SV58
  test('an illegal x-mcp-header of a server of 2025 is taken out, the others stay, and its tool can be called in either era', async () => {
    const { tools } = await listed('headers');
    const r = { type: 'string', 'x-mcp-header': 'Region' };
    assert.deepEqual(tools[0].inputSchema, { type: 'object', properties: { x: { type: 'object' }, r } });
    const { json } = await stateless(`${hub.url}/mcp`, 'tools/call', { name: 'headers_echo' }, { key: hub.key });
    assert.equal(json.result?.content[0].text, 'called');
  });
});
