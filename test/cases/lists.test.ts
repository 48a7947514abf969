import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { mcphub } from '../support/cli.ts';
import { delay, type RunningHub, startHub, until } from '../support/hub.ts';
import { callTool, rpc } from '../support/mcp.ts';
import { type Script, type ScriptedServer, scriptedProgram, startScriptedServer } from '../support/scripted-server.ts';

// biome-ignore lint/suspicious/noExplicitAny: answers are looked into by the tests
type Loose = any;

/** Short, so that a list that is never answered is given up soon. */
const ENV = { MCPHUB_LIST_MS: '1500', MCPHUB_WATCH_CONFIG: '0' };

const hello = (capabilities: string): string =>
  `{"protocolVersion":"2025-11-25",${capabilities}"serverInfo":{"name":"scripted","version":"1"}}`;
const refusal = (code: number, message: string): string =>
  `{"jsonrpc":"2.0","id":$ID,"error":{"code":${code},"message":"${message}"}}`;

const PAGES = {
  'tools/list': '{"tools":[{"name":"echo","inputSchema":{"type":"object"}}],"nextCursor":"two"}',
  'prompts/list': '{"prompts":[{"name":"greet"}],"nextCursor":"two"}',
  'resources/list': '{"resources":[{"uri":"case://one","name":"one"}],"nextCursor":"two"}',
};
const secondPages = (answer: string): Script => ({
  ...PAGES,
  ...{ 'tools/list?two': answer, 'prompts/list?two': answer, 'resources/list?two': answer },
});

/** A second page that fails, in all forms. */
const CUT: Readonly<Record<string, string>> = {
  cutparams: refusal(-32602, 'Invalid cursor'),
  cutinternal: refusal(-32603, 'Page 2 is on fire'),
  cuthttp: 'HTTP 500',
  cutsilent: 'HTTP 0',
  cutodd: '{"tools":"none","prompts":"none","resources":"none"}',
};
/** tools/list that fails, in all forms. */
const REFUSED: Readonly<Record<string, string>> = {
  refusedmethod: refusal(-32601, 'Method not found'),
  refusedinternal: refusal(-32603, 'The tools are on fire'),
  refused404: 'HTTP 404',
  refused500: 'HTTP 500',
  refusedsilent: 'HTTP 0',
  refusedodd: '{"tools":{"a":1}}',
};
const TOOLS = '{"tools":[{"name":"echo","inputSchema":{"type":"object"}}]}';
/** Capabilities that declare no tools. */
const UNDECLARED: Readonly<Record<string, string>> = {
  bareobject: '"capabilities":{},',
  barearray: '"capabilities":[],',
  barenull: '"capabilities":null,',
  bareabsent: '',
  bareprompts: '"capabilities":{"prompts":{}},',
};

describe('lists keep what was read', { timeout: 90_000 }, () => {
  let hub: RunningHub;
  const servers: Record<string, ScriptedServer> = {};

  const rows = async (): Promise<Loose[]> => {
    const answer = await fetch(`${hub.url}/api/servers`, { headers: { authorization: `Bearer ${hub.key}` } });
    return ((await answer.json()) as Loose).servers;
  };
  const rowOf = async (name: string): Promise<Loose> => (await rows()).find((server) => server.name === name);
  const names = async (name: string, list: 'tools' | 'prompts' | 'resources' = 'tools'): Promise<string[]> => {
    const { json } = await rpc(`${hub.url}/mcp/${name}`, `${list}/list`, {}, { key: hub.key });
    return json.result[list].map((item: Loose) => item.uri ?? item.name);
  };

  before(async () => {
    const scripts: Record<string, Script> = {
      late: { 'tools/list': '{"tools":[]}' },
      latebare: { initialize: hello('"capabilities":{},'), 'tools/list': '{"tools":[]}' },
      reloaded: { 'tools/list': '{"tools":[{"name":"old","inputSchema":{"type":"object"}}]}' },
      promptsonly: { initialize: hello('"capabilities":{"prompts":{}},'), 'tools/list': refusal(-32601, 'No') },
    };
    for (const [name, answer] of Object.entries(CUT)) scripts[name] = secondPages(answer);
    for (const [name, answer] of Object.entries(REFUSED)) scripts[name] = { 'tools/list': answer };
    for (const [name, capabilities] of Object.entries(UNDECLARED)) scripts[name] = { initialize: hello(capabilities) };
    const mcpServers: Record<string, object> = {
      cutstdio: scriptedProgram(secondPages(refusal(-32602, 'Invalid cursor'))),
      barestdio: scriptedProgram({ initialize: hello('"capabilities":{},') }),
      refusedstdio: scriptedProgram({ 'tools/list': refusal(-32603, 'The tools are on fire') }),
    };
    for (const [name, script] of Object.entries(scripts)) {
      servers[name] = await startScriptedServer(script);
      mcpServers[name] = { type: 'streamable-http', url: servers[name].url };
    }
    hub = await startHub({ config: { mcpServers }, env: ENV });
    const areReady = async () => (await rows()).every(({ state }) => state === 'ready');
    await until(areReady, 20_000, 'all are ready');
    for (const name of ['late', 'latebare']) {
      assert.deepEqual(await names(name), []);
      (servers[name] as ScriptedServer).script = { 'tools/list': TOOLS };
    }
  });
  after(async () => {
    await hub?.[Symbol.asyncDispose]();
    for (const server of Object.values(servers)) await server[Symbol.asyncDispose]();
  });

  // case: SV16
  test('a page that fails costs the pages behind it, on every list, and status, list, API and log say so', async () => {
    for (const name of [...Object.keys(CUT), 'cutstdio']) {
      for (const list of ['tools', 'prompts', 'resources'] as const)
        assert.deepEqual((await names(name, list)).length, 1, `${name} ${list}`);
      const { json } = await rpc(`${hub.url}/mcp/${name}`, 'tools/list', {}, { key: hub.key });
      assert.match(
        JSON.stringify(json.result._meta),
        /"tools":1,"incomplete":true/,
        'a client reads it too, without the cause',
      );
      const { unread } = (await rowOf(name)).hubs[0];
      const about = unread.map(({ kind, rows, isWanted }: Loose) => `${kind} ${rows} ${isWanted}`).sort();
      assert.deepEqual(about, ['prompt 1 true', 'resource 1 true', 'tool 1 true'], name);
      const answer = await callTool(`${hub.url}/mcp`, `${name}_echo`, {}, { key: hub.key });
      assert.equal(answer.json.result.content[0].text, 'called', name);
    }
    const told = hub.lines.filter(({ event, upstream }) => event === 'lists-unread' && upstream === 'cutinternal');
    assert.equal(told.length, 1, 'said once');
    assert.equal(told[0]?.level, 'warn');
    assert.match(String(told[0]?.msg), /tools not read completely \(1 read\): .*Page 2 is on fire.*; prompts not read/);
    for (const command of [['servers', 'list'], ['status']]) {
      const { stdout } = await mcphub([...command, '--data-dir', hub.dataDir]);
      assert.match(stdout, /cutparams.*tools not read completely \(1 read\).*Invalid cursor/, command.join(' '));
      assert.match(stdout, /refused404.*tools not read: /);
      assert.match(stdout, /bareobject.*declares nothing/);
      assert.doesNotMatch(stdout, /(bareprompts|promptsonly).*(declares nothing|not read)/);
    }
  });

  // case: SV20
  test('a server whose tools/list is refused is ready with its prompts and resources, and its tools appear when it gives them', async () => {
    const all = Object.keys(REFUSED);
    for (const name of [...all, 'refusedstdio']) {
      assert.deepEqual(await names(name, 'prompts'), [`${name}_greet`]);
      assert.deepEqual(await names(name, 'resources').then(({ length }) => length), 1);
      const { state, cause, hubs } = await rowOf(name);
      assert.deepEqual(
        [state, cause, hubs[0].unread.map(({ kind }: Loose) => kind)],
        ['ready', undefined, ['tool']],
        name,
      );
    }
    for (const name of all) (servers[name] as ScriptedServer).script = {};
    for (const name of all)
      await until(async () => (await names(name)).length === 1, 62_000, `${name} gives its tools`);
    for (const name of all) assert.equal((await rowOf(name)).hubs[0].unread, undefined, name);
  });

  // case: SV2
  test('a server that declares no tools and has some shows them', async () => {
    for (const name of [...Object.keys(UNDECLARED), 'barestdio']) {
      assert.deepEqual(await names(name), [`${name}_echo`]);
      const isBare = name !== 'bareprompts';
      assert.equal((await rowOf(name)).hubs[0].declaresNothing, isBare || undefined, name);
    }
    assert.deepEqual(await names('promptsonly', 'prompts'), ['promptsonly_greet']);
  });

  // case: SV2, SV21
  test('a first empty list is read again without a person, also where nothing is declared', async () => {
    for (const name of ['late', 'latebare'])
      await until(async () => (await names(name)).length === 1, 62_000, `${name} has tools`);
  });

  // case: SV21
  test('mcphub reload reads the lists again', async () => {
    const server = servers.reloaded as ScriptedServer;
    assert.deepEqual(await names('reloaded'), ['reloaded_old']);
    server.script = { 'tools/list': TOOLS };
    await delay(500);
    assert.deepEqual(await names('reloaded'), ['reloaded_old']);
    await mcphub(['reload', '--data-dir', hub.dataDir]);
    await until(async () => (await names('reloaded')).includes('reloaded_echo'), 5000, 'the new tool');
    assert.equal(server.seen.get('initialize')?.length, 1, 'without a new connection');
  });
});
