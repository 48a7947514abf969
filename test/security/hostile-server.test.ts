/**
 * A server that answers wrongly harms its own callers only, and they get an error at once.
 * covers: P11
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { mcphub } from '../support/cli.ts';
import { type Era, type HostileServer, OBEYED, startHostileServer } from '../support/hostile-server.ts';
import { type RunningHub, startHub } from '../support/hub.ts';
import { callTool, post } from '../support/mcp.ts';
import { stateless } from '../support/stateless.ts';

const SCRIPT = new URL('../support/hostile-server.ts', import.meta.url).pathname;
const ERAS: readonly Era[] = ['2025', '2026'];
const WIRES = ['stdio', 'http', 'http-sse', 'sse'] as const;
/** From the call to its error. The silence of a server alone takes five seconds. */
const AT_ONCE_MS = 1000;

let hub: RunningHub;
const servers: HostileServer[] = [];

before(async () => {
  const mcpServers: Record<string, object> = {};
  for (const era of ERAS)
    for (const wire of WIRES) {
      // HTTP+SSE is a transport of the first date only.
      if (wire === 'sse' && era === '2026') continue;
      if (wire === 'stdio') mcpServers[`stdio${era}`] = { command: process.execPath, args: [SCRIPT, era] };
      else {
        const server = await startHostileServer(wire, era);
        servers.push(server);
        const name = `${wire.replace('-', '')}${era}`;
        mcpServers[name] = { url: server.url, type: wire === 'sse' ? 'sse' : 'streamable-http' };
      }
    }
  hub = await startHub({ config: { mcpServers }, env: { MCPHUB_ANSWER_VALUES: '10000' } });
  await Promise.all(serverNames().map((name) => well(name)));
});

after(async () => {
  await hub?.[Symbol.asyncDispose]();
  await Promise.all(servers.map((server) => server[Symbol.asyncDispose]()));
});

const serverNames = (): string[] =>
  ERAS.flatMap((era) =>
    WIRES.filter((wire) => wire !== 'sse' || era === '2025').map((wire) => `${wire.replace('-', '')}${era}`),
  );

async function well(name: string): Promise<void> {
  for (let tries = 0; ; tries += 1) {
    const answer = await callTool(`${hub.url}/mcp`, `${name}_well`, {}, { key: hub.key });
    if (answer.json?.result?.content?.[0]?.text === 'well') return;
    assert.ok(tries < 40, `${name}: ${answer.text.slice(0, 300)}`);
    await new Promise((done) => setTimeout(done, 100));
  }
}

const result = (text: string): string => `{"jsonrpc":"2.0","id":@ID@,"result":${text}}`;

/** Answers that no client can understand, in bytes of latin1. */
const ODD: Readonly<Record<string, string>> = {
  'a bad escape': result('{"content":[{"type":"text","text":"\\q"}]}'),
  'a raw control character': result('{"content":[{"type":"text","text":"a\u0001b"}]}'),
  'a raw tab': result('{"content":[{"type":"text","text":"a\tb"}]}'),
  'a cut surrogate escape': result('{"content":[{"type":"text","text":"\\ud8"}]}'),
  'a bad escape in a long text': result(`{"content":[{"type":"text","text":"${'long '.repeat(2000)}\\x41"}]}`),
  NaN: result('{"content":[],"structuredContent":{"a":NaN}}'),
  'a comma too many': result('{"content":[],}'),
  'no end': '{"jsonrpc":"2.0","id":@ID@,"result":{"content":[]',
  'a result that is a number': result('5'),
  'a result that is a string': result('"text"'),
  'a result that is a filled array': result('[1]'),
  'result and error': '{"jsonrpc":"2.0","id":@ID@,"result":{},"error":{"code":1,"message":"m"}}',
  'two results': '{"jsonrpc":"2.0","id":@ID@,"result":{},"result":{}}',
  'params in the reply': '{"jsonrpc":"2.0","id":@ID@,"params":5,"result":{}}',
  'another version of JSON-RPC': '{"jsonrpc":"1.0","id":@ID@,"result":{}}',
  'no version of JSON-RPC': '{"id":@ID@,"result":{}}',
  'an error that is null': '{"jsonrpc":"2.0","id":@ID@,"error":null}',
  'an error that is a string': '{"jsonrpc":"2.0","id":@ID@,"error":"no"}',
  'an error without a message': '{"jsonrpc":"2.0","id":@ID@,"error":{"code":1}}',
  'an error whose code is a string': '{"jsonrpc":"2.0","id":@ID@,"error":{"code":"1","message":"m"}}',
  'an error whose message is not valid': '{"jsonrpc":"2.0","id":@ID@,"error":{"code":1,"message":"\\q"}}',
  'an error with two codes': '{"jsonrpc":"2.0","id":@ID@,"error":{"code":1,"c\\u006fde":-32042,"message":"m"}}',
  'an error whose code has an exponent':
    '{"jsonrpc":"2.0","id":@ID@,"error":{"code":-3.2042e4,"message":"m","data":{}}}',
  'twenty thousand values': result(`{"content":[${'1,'.repeat(20_000)}1]}`),
  'twenty thousand values, and then no JSON': result(`{"content":[${'1,'.repeat(20_000)}]}`),
  'a result of two thousand members': result(`{${Array.from({ length: 2000 }, (_, at) => `"a${at}":1`).join(',')}}`),
  'nesting without end': result(`{"content":${'['.repeat(5000)}${']'.repeat(5000)}}`),
};

/** Answers that only a server of the stateless era can give. */
const ODD_2026: Readonly<Record<string, string>> = {
  'inputRequests that are null': result('{"resultType":"input_required","inputRequests":null,"requestState":"s"}'),
  'a request that is null': result('{"resultType":"input_required","inputRequests":{"a":null},"requestState":"s"}'),
  'a request that is a number': result('{"resultType":"input_required","inputRequests":{"a":5}}'),
  'params that are a number': result(
    '{"resultType":"input_required","inputRequests":{"a":{"method":"roots/list","params":5}}}',
  ),
  'params that are null': result(
    '{"resultType":"input_required","inputRequests":{"a":{"method":"elicitation/create","params":null}}}',
  ),
  'a method that is an object': result('{"resultType":"input_required","inputRequests":{"a":{"method":{}}}}'),
  'a kind that is a number': result('{"resultType":1,"content":[]}'),
  'a kind that nobody knows': result('{"resultType":"task","content":[]}'),
  'an escaped kind that asks back': result('{"resultTyp\\u0065":"input_required","content":[]}'),
  'nothing asked': result('{"resultType":"input_required"}'),
};

const QUESTION = '"inputRequests":{"a":{"method":"elicitation/create","params":{"url":"javascript:alert(1)"}}}';
/** Each would be a question to a client that takes the last of two members. */
const FORGED_QUESTIONS = [
  `{"resultType":"input_required",${QUESTION},"requestState":"s"}`,
  `{"resultType":"complete","resultType":"input_required",${QUESTION},"requestState":"s"}`,
  `{"resultType":"complete","resultTyp\\u0065":"input_required",${QUESTION},"requestState":"s"}`,
];

// finding: SR-A10
test('a result of a 2025 server is no question to a client of 2026-07-28, however its members are written', async () => {
  for (const wire of WIRES)
    for (const text of FORGED_QUESTIONS) {
      const bytes = Buffer.from(result(text), 'latin1').toString('base64');
      const params = { name: `${wire.replace('-', '')}2025_odd`, arguments: { bytes } };
      const answer = await stateless(`${hub.url}/mcp`, 'tools/call', params, { key: hub.key });
      assert.equal(answer.json?.result?.resultType, 'complete', answer.text);
    }
});

for (const era of ERAS)
  for (const wire of WIRES) {
    if (wire === 'sse' && era === '2026') continue;
    const name = `${wire.replace('-', '')}${era}`;
    // finding: SR-L7
    test(`a call that a ${era} server over ${wire} answers wrongly ends with an error within a second`, async () => {
      const corpus = Object.entries(era === '2026' ? { ...ODD, ...ODD_2026 } : ODD);
      for (const [what, text] of corpus) {
        const bytes = Buffer.from(text, 'latin1').toString('base64');
        const answer = await callTool(
          `${hub.url}/mcp`,
          `${name}_odd`,
          { bytes },
          { key: hub.key, timeoutMs: 4000 },
        ).catch((fault: unknown) => assert.fail(`${name}: ${what}: ${fault}`));
        const { json } = answer;
        assert.ok(answer.ms < AT_ONCE_MS, `${what}: ${answer.ms} ms`);
        assert.equal(json?.id, 1, `${what}: ${answer.text.slice(0, 200)}`);
        const isError = typeof json.error?.code === 'number' || json.result?.isError === true;
        assert.ok(isError, `${what}: ${answer.text.slice(0, 200)}`);
        if (text in ODD && json.error?.data) assert.equal(json.error.data.server, name, what);
      }
      await well(name);
      const faults = hub.lines.filter(({ event }) => event === 'task-faulted' || event === 'uncaught-exception');
      assert.deepEqual(faults, []);
    });
  }

// finding: SR-N8
test('an answer that is no valid JSON spoils only its own entry of a batch', async () => {
  const bytes = Buffer.from(ODD['a bad escape'] ?? '', 'latin1').toString('base64');
  const session = await post(
    `${hub.url}/mcp`,
    {
      ...{ jsonrpc: '2.0', id: 0, method: 'initialize' },
      params: { protocolVersion: '2025-03-26', capabilities: {}, clientInfo: { name: 'b', version: '1' } },
    },
    { key: hub.key },
  );
  const call = (id: number, name: string, args: object) => ({
    ...{ jsonrpc: '2.0', id, method: 'tools/call' },
    params: { name: `http2025_${name}`, arguments: args },
  });
  const answer = await post(`${hub.url}/mcp`, [call(1, 'well', {}), call(2, 'odd', { bytes }), call(3, 'well', {})], {
    key: hub.key,
    session: session.session ?? undefined,
  });
  const byId = new Map((answer.json as { id: number; result?: object; error?: object }[]).map((one) => [one.id, one]));
  assert.ok(byId.get(1)?.result && byId.get(3)?.result, answer.text);
  assert.ok(byId.get(2)?.error, answer.text);
});

// finding: SR-N7
test('the command prints no control character of a server, whichever way the server says it', async () => {
  const at = ['--data-dir', hub.dataDir];
  const text = result(JSON.stringify({ content: [{ type: 'text', text: OBEYED }] }));
  const error = `{"jsonrpc":"2.0","id":@ID@,"error":{"code":1,"message":${JSON.stringify(OBEYED)}}}`;
  const call = (bytes: string) => `bytes=${Buffer.from(bytes).toString('base64')}`;
  const ran = await Promise.all(
    [
      ['tools', 'list'],
      ['tools', 'list', '--json'],
      ['servers', 'list'],
      ['servers', 'list', '--json'],
      ['status'],
      ['doctor'],
      ['waits'],
      ['servers', 'logs', 'stdio2025'],
      ['tools', 'call', 'http2025_odd', call(text)],
      ['tools', 'call', 'http2025_odd', call(error)],
    ].map(async (words) => ({ words, ...(await mcphub([...words, ...at])) })),
  );
  for (const { words, stdout, stderr } of ran) {
    assert.ok(stdout + stderr !== '', words.join(' '));
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
    const found = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/.exec(stdout + stderr);
    assert.equal(found, null, `${words.join(' ')}: ${JSON.stringify((stdout + stderr).slice(0, 300))}`);
  }
  assert.match(ran[0]?.stdout ?? '', /\\x1b\]0;owned/);
});

/** How a server may repeat what it was sent. */
const QUOTING: readonly ((reply: string) => string)[] = [
  (reply) => `{"level":30,"msg":"call","args":${reply}}`,
  (reply) => `call ${reply}`,
  (reply) => `{"msg":"call","args":${reply},"more":"...`,
  (reply) => `{ args: '${reply}' }`,
  (reply) => `{"jsonrpc":"2.0","id":@ID@,"result":{"args":${reply},"n":Infinity}}`,
];

// finding: SR-A16
for (const name of ['stdio2025', 'stdio2026', 'sse2025'])
  test(`what ${name} repeats of one call ends no other call`, async () => {
    const call = (tool: string, args: object) => callTool(`${hub.url}/mcp`, `${name}_${tool}`, args, { key: hub.key });
    for (const quote of QUOTING) {
      const heard = await call('heard', {});
      const own = /"id":(\d+)/.exec(Buffer.from(heard.json.result.content[0].text, 'base64').toString());
      const victim = call('odd', { bytes: Buffer.from(result('{"content":[]}')).toString('base64'), waitMs: 700 });
      await new Promise((done) => setTimeout(done, 100));
      const replies = [1, 2, 3].map((more) => ({ jsonrpc: '2.0', id: Number(own?.[1]) + more, result: {} }));
      const lines = replies.map((reply) => quote(JSON.stringify(reply)));
      const bytes = Buffer.from(lines.join(name === 'sse2025' ? '\n\ndata: ' : '\n')).toString('base64');
      await call('flood', { bytes, times: 1, replies });
      const { text, json } = await victim;
      assert.deepEqual(json?.result?.content, [], `${lines[0]}: ${text}`);
    }
  });
