/**
 * Servers that send what is no UTF-8, no Unicode or no JSON, on every way to a client: what can be repaired arrives
 * with U+FFFD, all else is refused with the server's name, and clients that check each byte find nothing wrong.
 */
// case: CL30, SV22, SX4
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { type Era, type HostileServer, startHostileServer, type Wire } from '../support/hostile-server.ts';
import { type RunningHub, startHub, until } from '../support/hub.ts';
import { callTool, post } from '../support/mcp.ts';
import { faultServer } from '../support/real-servers.ts';
import { statelessBody, statelessHeaders } from '../support/stateless.ts';
import { type Caller, StrictBridge, StrictClient } from '../support/strict-client.ts';
import { strictBatch } from '../support/strictly.ts';

const SCRIPT = new URL('../support/hostile-server.ts', import.meta.url).pathname;
const SERVERS: readonly (readonly [name: string, era: Era, wire: Wire | 'stdio'])[] = [
  ['stdio2025', '2025', 'stdio'],
  ['stdio2026', '2026', 'stdio'],
  ['json2025', '2025', 'http'],
  ['json2026', '2026', 'http'],
  ['events2025', '2025', 'http-sse'],
  ['events2026', '2026', 'http-sse'],
  ['sse2025', '2025', 'sse'],
];
/** Inside a JSON string, in bytes of latin1. */
const REPAIRED: Readonly<Record<string, string>> = {
  'CP949 text': 'a\xc7\xd1b',
  'Latin-1 text': 'caf\xe9 b',
  'an overlong form': 'a\xc0\xafb',
  'surrogates in UTF-8': 'a\xed\xa0\xbd\xed\xb8\x80b',
  'a cut character': 'a\xed\x95',
  'half of a surrogate pair': 'a\\ud83d b',
  'the second half alone': 'a\\uDE00b',
  'CP949 and half a pair in a long text': `${'long '.repeat(3000)}\xc7\xd1\\ud83d`,
};
const REFUSED: Readonly<Record<string, string>> = {
  'a raw tab': 'a\tb',
  'a raw NUL': 'a\0b',
  'a raw vertical tab': 'a\x0bb',
  'a raw SUB': 'a\x1ab',
  'an unknown escape': '\\x41',
  'a cut escape': '\\u12',
  'a raw tab in a long text': `${'long '.repeat(3000)}\t`,
};
const base64 = (latin1: string) => Buffer.from(latin1, 'latin1').toString('base64');
const result = (text: string, kind: string) =>
  `{"jsonrpc":"2.0","id":@ID@,"result":{${kind}"content":[{"type":"text","text":"${text}"}]}}`;
const call = (name: string, args: object, id: unknown = 1, token?: string) => ({
  ...{ jsonrpc: '2.0', id, method: 'tools/call' },
  params: { name, arguments: args, ...(token === undefined ? {} : { _meta: { progressToken: token } }) },
});

describe('an invalid message of a server', { timeout: 120_000 }, () => {
  let hub: RunningHub;
  const servers: HostileServer[] = [];
  let client: StrictClient;
  let bridge: StrictBridge;
  before(async () => {
    const mcpServers: Record<string, object> = { healthy: faultServer('normal') };
    for (const [name, era, wire] of SERVERS) {
      if (wire === 'stdio') {
        mcpServers[name] = { command: process.execPath, args: [SCRIPT, era] };
        continue;
      }
      const server = await startHostileServer(wire, era);
      servers.push(server);
      mcpServers[name] = { url: server.url, type: wire === 'sse' ? 'sse' : 'streamable-http' };
    }
    // A connection whose stream the server leaves open is free a second after the reply.
    hub = await startHub({ config: { mcpServers }, env: { MCPHUB_SERVER_CONNECTIONS: '1000' } });
    const isWell = async (tool: string, args = {}) => {
      const { json } = await callTool(`${hub.url}/mcp`, tool, args, { key: hub.key });
      return json?.result?.isError !== true && json?.result !== undefined;
    };
    for (const [name] of SERVERS) await until(() => isWell(`${name}_well`), 20_000, name);
    await until(() => isWell('healthy_echo', { text: 'x' }), 20_000, 'the healthy server');
    client = await new StrictClient(hub).open();
    bridge = await new StrictBridge(hub.dataDir).open();
  });
  after(async () => {
    client?.close();
    bridge?.close();
    await hub?.[Symbol.asyncDispose]();
    await Promise.all(servers.map((server) => server[Symbol.asyncDispose]()));
  });
  const kindOf = (era: Era) => (era === '2026' ? '"resultType":"complete",' : '');

  async function assertResults(caller: Caller, waitMs: number): Promise<void> {
    const checks = SERVERS.flatMap(([name, era], nth) => {
      const odd = (text: string, id: number) =>
        caller.ask(call(`${name}_odd`, { bytes: base64(result(text, kindOf(era))), waitMs }, id));
      const repaired = Object.entries(REPAIRED).map(async ([what, text], at) => {
        const { reply, isStream } = await odd(text, 1000 * nth + at);
        assert.match(reply?.result?.content[0].text, /\ufffd/, `${name}: ${what}`);
        if (waitMs > 1000) assert.ok(isStream, what);
      });
      const refused = Object.entries(REFUSED).map(async ([what, text], at) => {
        const { reply } = await odd(text, 1000 * nth + at + 100);
        assert.equal(reply?.error?.data?.server, name, `${what}: ${JSON.stringify(reply)}`);
        assert.equal(reply?.error?.data?.code, 'upstream-invalid', what);
      });
      return [...repaired, ...refused];
    });
    await Promise.all(checks);
  }

  test('arrives repaired, or as an error that names the server', () => assertResults(client, 0));

  test('arrives on a stream when the call takes longer than a second', () => assertResults(client, 1200));

  test('arrives on the output of the bridge as one line', () => assertResults(bridge, 0));

  test('arrives at a client of 2026-07-28', async () => {
    for (const [name, era] of SERVERS)
      for (const [text, isRepaired] of [['a\xc7\xd1\\ud83d', true] as const, ['a\tb', false] as const]) {
        const params = { name: `${name}_odd`, arguments: { bytes: base64(result(text, kindOf(era))) } };
        const sessionless = new StrictClient(hub);
        const { reply } = await sessionless.ask(
          statelessBody('tools/call', params, {}),
          statelessHeaders('tools/call', params),
        );
        sessionless.close();
        if (isRepaired) assert.match(reply?.result?.content[0].text, /^a\ufffd+$/, name);
        else assert.equal(reply?.error?.data?.server, name);
      }
  });

  test('spoils only its own entry of a batch, whether the client or the server batches', async () => {
    const hello = { protocolVersion: '2025-03-26', capabilities: {}, clientInfo: { name: 'batch', version: '1' } };
    const opened = await post(
      `${hub.url}/mcp`,
      { jsonrpc: '2.0', id: 0, method: 'initialize', params: hello },
      { key: hub.key },
    );
    for (const name of ['stdio2025', 'json2025', 'events2025']) {
      const texts = ['a\xc7\xd1', '\\ud83d', 'a\tb', 'well'];
      const batch = texts.map((text, at) => call(`${name}_odd`, { bytes: base64(`[${result(text, '')}]`) }, at));
      const answer = await fetch(`${hub.url}/mcp`, {
        method: 'POST',
        headers: {
          ...{ authorization: `Bearer ${hub.key}`, 'content-type': 'application/json' },
          'mcp-session-id': opened.session ?? '',
        },
        body: JSON.stringify(batch),
      });
      const messages = strictBatch(Buffer.from(await answer.arrayBuffer()));
      const shown = messages
        .sort((a, b) => Number(a.id) - Number(b.id))
        .map(({ result: own, error }) => own?.content[0].text ?? error?.data?.code);
      assert.deepEqual(shown, ['a\ufffd\ufffd', '\ufffd', 'upstream-invalid', 'well'], name);
    }
  });

  test('is repaired or dropped when it is progress or a log line, and the call goes on', async () => {
    const progress = (text: string) =>
      `{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":@ID@,"progress":1,"message":"${text}"}}`;
    const log = (text: string) =>
      `{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"error","data":"${text}"}}`;
    for (const [name, , wire] of SERVERS) {
      if (wire === 'http') continue;
      for (const make of [progress, log]) {
        for (const [what, text] of Object.entries({ ...REPAIRED, ...REFUSED })) {
          const args = { bytes: base64(make(text)), times: 1 };
          const { reply, before: events } = await client.ask(call(`${name}_flood`, args, 1, 'token'));
          assert.equal(reply?.result?.content[0].text, 'well', `${name}: ${what}`);
          const heard = events.filter(({ params }) => JSON.stringify(params).includes('\ufffd'));
          // A server that was asked for no log lines need not be heard.
          if (make === progress) assert.equal(heard.length, what in REPAIRED ? 1 : 0, `${name}: ${what}`);
          assert.ok(heard.length === events.length, JSON.stringify(events));
        }
      }
    }
  });

  test('is repaired in resources, prompts and errors', async () => {
    const contents = (text: string, kind: string) =>
      `{"jsonrpc":"2.0","id":@ID@,"result":{${kind}"contents":[{"uri":"test://kept","text":"${text}"}],"messages":[{"role":"user","content":{"type":"text","text":"${text}"}}]}}`;
    const error = (text: string) =>
      `{"jsonrpc":"2.0","id":@ID@,"error":{"code":-32000,"message":"${text}","data":{"${text}":"${text}"}}}`;
    const listed = (await client.ask({ jsonrpc: '2.0', id: 1, method: 'resources/list' })).reply?.result.resources;
    // The server that listed it first has the address itself.
    const uriOf = (name: string): string =>
      listed.find(({ uri }: { uri: string }) => uri.startsWith(`mcphub://${name}/`))?.uri ?? 'test://kept';
    for (const [name, era] of SERVERS) {
      for (const what of ['CP949 text', 'half of a surrogate pair', 'a raw tab']) {
        const isRepaired = what in REPAIRED;
        const text = REPAIRED[what] ?? REFUSED[what] ?? '';
        await client.ask(call(`${name}_keep`, { bytes: base64(contents(text, kindOf(era))) }));
        const prompt = await client.ask({
          ...{ jsonrpc: '2.0', id: 2, method: 'prompts/get' },
          params: { name: `${name}_kept` },
        });
        const read = await client.ask({
          ...{ jsonrpc: '2.0', id: 3, method: 'resources/read' },
          params: { uri: uriOf(name) },
        });
        for (const { reply } of [prompt, read]) {
          const shown = JSON.stringify(reply);
          if (isRepaired) assert.ok(reply?.result && shown.includes('\ufffd'), `${name}: ${what}: ${shown}`);
          else assert.equal(reply?.error?.data?.server, name, `${name}: ${what}: ${shown}`);
        }
        const { reply } = await client.ask(call(`${name}_odd`, { bytes: base64(error(text)) }));
        if (isRepaired)
          assert.deepEqual([reply?.error?.code, reply?.error?.message.includes('\ufffd')], [-32000, true]);
        else assert.equal(reply?.error?.data?.code, 'upstream-invalid', `${name}: ${what}`);
      }
    }
  });

  test('is an error with an integer code and a text, whatever the server calls it', async () => {
    for (const [name] of SERVERS)
      for (const [error, code, message] of [
        ['{"code":"E_FAIL","message":"no file","data":[1]}', -32603, 'E_FAIL: no file'],
        ['{"code":1.5,"message":"m"}', -32603, '1.5: m'],
        ['{"message":"m"}', -32603, 'm'],
        ['{"code":7}', 7, 'The server returned an error without a message.'],
        ['{"code":7,"message":{"text":"m"}}', 7, '{"text":"m"}'],
        ['"no file"', -32603, 'no file'],
        ['null', -32603, 'The server returned an error without a message.'],
      ] as const) {
        const bytes = base64(`{"jsonrpc":"2.0","id":@ID@,"error":${error}}`);
        const { reply } = await client.ask(call(`${name}_odd`, { bytes }));
        assert.deepEqual([reply?.error?.code, reply?.error?.message], [code, message], `${name}: ${error}`);
      }
  });

  test('is repaired in lists, where a row that is no JSON is left out alone', async () => {
    const row = (name: string, text: string) =>
      `{"name":"${name}","description":"${text}","inputSchema":{"type":"object","properties":{"p":{"description":"${text}"}}}}`;
    const rows = [row('cp949', 'a\xc7\xd1'), row('half', 'a\\ud83d'), row('tab', 'a\tb'), row('good', 'fine')].join(
      ',',
    );
    for (const name of ['stdio2025', 'stdio2026']) await client.ask(call(`${name}_rows`, { bytes: base64(rows) }));
    const list = async () => (await client.ask({ jsonrpc: '2.0', id: 4, method: 'tools/list' })).reply?.result.tools;
    await until(
      async () => (await list()).some((tool: { name: string }) => tool.name === 'stdio2025_good'),
      20_000,
      'the rows',
    );
    const found = (await list()).filter(({ name }: { name: string }) => /^stdio2025_(cp949|half|tab|good)$/.test(name));
    assert.deepEqual(
      found.map(({ name, description }: { name: string; description: string }) => [name, description]),
      [
        ['stdio2025_cp949', 'a\ufffd\ufffd'],
        ['stdio2025_half', 'a\ufffd'],
        ['stdio2025_good', 'fine'],
      ],
    );
  });

  test('is reported to the operator with the server, and a healthy server notices nothing', async () => {
    const reports = hub.lines.filter(({ event }) => event === 'messages-invalid');
    for (const [name] of SERVERS)
      assert.ok(
        reports.some(({ upstream }) => upstream === name),
        `${name} in ${reports.length} reports`,
      );
    assert.ok(!reports.some(({ upstream }) => upstream === 'healthy'));
    const { reply } = await client.ask(call('healthy_echo', { text: '한 \u{1f600}' }));
    assert.equal(reply?.result?.content[0].text, '한 \u{1f600}');
  });

  test('does not go to servers either: halves of pairs in ids, names and arguments of clients become U+FFFD', async () => {
    for (const name of SERVERS.map(([one]) => one)) {
      const body = `{"jsonrpc":"2.0","id":"a\\ud83d","method":"tools/call","params":{"name":"${name}_heard","arguments":{"\\ude00":"b\\ud83d","pair":"\\ud83d\\ude00"}}}`;
      const bridged = await bridge.ask(body);
      assert.equal(bridged.reply?.id, 'a\ufffd');
      const { reply } = await client.ask(body);
      assert.equal(reply?.id, 'a\ufffd');
      const heard = JSON.parse(Buffer.from(reply?.result?.content[0].text, 'base64').toString('utf8'));
      assert.deepEqual(heard.params.arguments, { '\ufffd': 'b\ufffd', pair: '\u{1f600}' }, name);
    }
    const { reply } = await client.ask(
      '{"jsonrpc":"2.0","id":5,"method":"tools/call","params":{"name":"a\\ud83d","arguments":{}}}',
    );
    assert.match(reply?.error?.message ?? '', /a\ufffd/);
  });
});
