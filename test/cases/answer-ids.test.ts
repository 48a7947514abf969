// case: CL3, CL41
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { batchChannel, bridgeChannel, type Channel, postChannel, sseChannel } from '../support/client-channels.ts';
import { type RunningHub, startHub, until } from '../support/hub.ts';
import { callTool, openSession, post, rpc } from '../support/mcp.ts';
import { rawExchange } from '../support/raw-client.ts';
import { faultServer } from '../support/real-servers.ts';

const deep = (levels: number): string => `${'['.repeat(levels)}${']'.repeat(levels)}`;
const PING = '{"jsonrpc":"2.0","id":5,"method":"ping"}';
const NOTIFICATION = '{"jsonrpc":"2.0","method":"notifications/initialized"}';

/** Messages that are refused after they were read, with the id and the code of the answer. */
const REFUSED: readonly (readonly [text: string, id: unknown, code: number])[] = [
  ['{"jsonrpc":"1.0","id":5,"method":"ping"}', 5, -32600],
  ['{"id":"a","method":"ping"}', 'a', -32600],
  ['{"jsonrpc":"2.0","id":5,"method":7}', 5, -32600],
  ['{"jsonrpc":"2.0","id":5}', 5, -32600],
  ['{"jsonrpc":"2.0","id":-1.5,"method":"ping","result":{}}', -1.5, -32600],
  ['{"jsonrpc":"2.0","id":5,"method":"ping","METHOD":"x"}', 5, -32600],
  ['{"jsonrpc":"2.0","id":5,"method":"ping","params":[1]}', 5, -32602],
  [`{"jsonrpc":"2.0","id":5,"method":"ping","params":{"a":${deep(200)}}}`, 5, -32600],
  [`{"jsonrpc":"2.0","method":"ping","params":{"a":${deep(200)}},"id":6}`, 6, -32600],
  [`{"jsonrpc":"2.0","id":"${'x'.repeat(2000)}","method":"ping"}`, 'x'.repeat(2000), -32600],
  ['{"jsonrpc":"2.0","id":5,"method":"unknown"}', 5, -32601],
];
/** Messages in which no id can be read. */
const WITHOUT_ID: readonly (readonly [text: string, code: number])[] = [
  ['{"jsonrpc":"2.0","id":5,"id":6,"method":"ping"}', -32600],
  ['{"jsonrpc":"2.0","id":{},"method":"ping"}', -32600],
  ['{"jsonrpc":"2.0","id":null,"method":"ping"}', -32600],
  ['{"jsonrpc":"2.0","id":5,"method":"ping"', -32700],
  ['{"jsonrpc":"2.0","ID":5,"method":"ping"}', -32600],
  ['7', -32600],
];

let hub: RunningHub;

before(async () => {
  hub = await startHub({
    config: { mcpServers: { slow: faultServer('normal') } },
    env: { MCPHUB_ADDRESS_PER_SECOND: '20', MCPHUB_BODY_BYTES: '1048576' },
  });
  const isListed = async () => (await rpc(`${hub.url}/mcp`, 'tools/list', {}, hub)).text.includes('slow_sleep');
  await until(isListed, 20_000, 'the tools');
});
after(async () => {
  await hub[Symbol.asyncDispose]();
});

async function judge(channel: Channel): Promise<void> {
  for (const [text, id, code] of REFUSED) {
    const { json } = await channel.send(text);
    assert.deepEqual([json?.id, json?.error?.code], [id, code], `${channel.name} ${text.slice(0, 80)}`);
    assert.equal(typeof json.error.message, 'string');
  }
}

describe('a request that is refused after it was read gets the error under its own id', () => {
  test('by POST', async () => {
    await using channel = postChannel(hub);
    await judge(channel);
    for (const [text, code] of WITHOUT_ID) {
      const { status, json } = await channel.send(text);
      assert.deepEqual([status, json.id, json.error.code], [400, null, code], text);
    }
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

  test('for an unknown version and an unknown group', async () => {
    const version = { 'mcp-protocol-version': '1999-01-01' };
    const refused = await post(`${hub.url}/mcp`, PING, { key: hub.key, headers: version });
    assert.deepEqual([refused.status, refused.json.id, refused.json.error.code], [400, 5, -32600]);
    const group = await post(`${hub.url}/mcp/nobody`, PING, { key: hub.key });
    assert.deepEqual([group.status, group.json.id, group.json.error.code], [404, 5, -32600]);
    await using bridge = bridgeChannel(hub, ['nobody']);
    const { json } = await bridge.send(PING);
    assert.deepEqual([json.id, json.error.code], [5, -32600]);
    assert.match(json.error.message, /nobody/);
  });
});

test('the bridge puts in the id when the hub refuses a request before it reads it', async () => {
  await using bridge = bridgeChannel(hub, ['--url', hub.url], { MCPHUB_KEY: `mcphub_${'0'.repeat(64)}` });
  const { json } = await bridge.send(PING);
  assert.deepEqual([json.id, json.error.code], [5, -32001]);
});

test('a cancellation reaches only the request with exactly its id', async () => {
  const session = await openSession(`${hub.url}/mcp`, hub.key);
  const options = { key: hub.key, session, id: 5 };
  const call = callTool(`${hub.url}/mcp`, 'slow_sleep', { ms: 1500 }, options);
  for (const other of ['"5"', '50', 'null'])
    assert.equal((await post(`${hub.url}/mcp`, cancelOf(other), options)).status, 202);
  const { json } = await call;
  assert.equal(json.result?.content[0].text, 'slept 1500', JSON.stringify(json));
});

const cancelOf = (id: string): string =>
  `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":${id}}}`;

test('the refusal of a reply or a notification has the id null and an error status', async () => {
  for (const text of [
    '{"jsonrpc":"2.0","id":12345,"result":{}}',
    '{"jsonrpc":"2.0","id":"x","error":{"code":1,"message":"m"}}',
    NOTIFICATION,
  ]) {
    const { status, json } = await post(`${hub.url}/mcp`, text, { key: hub.key, session: 'unknown' });
    assert.deepEqual([status, json.id, json.error.code], [404, null, -32001], text);
  }
});

test('a batch is refused as a whole for its key, its session and its version', async () => {
  for (const text of [`[${NOTIFICATION}]`, `[${PING}]`, `[${PING},${NOTIFICATION}]`]) {
    const bare = await post(`${hub.url}/mcp`, text);
    assert.deepEqual([bare.status, bare.json.id, bare.json.error.code], [401, null, -32001], text);
    const lost = await post(`${hub.url}/mcp`, text, { key: hub.key, session: 'unknown' });
    assert.deepEqual([lost.status, lost.json.id, lost.json.error.code], [404, null, -32001], text);
    const headers = { 'mcp-protocol-version': '1999-01-01' };
    const old = await post(`${hub.url}/mcp`, text, { key: hub.key, headers });
    assert.deepEqual([old.status, old.json.id, old.json.error.code], [400, null, -32600], text);
  }
});

test('the bridge sends the messages of a batch one by one, and nothing for a bad notification', async () => {
  await using bridge = bridgeChannel(hub);
  const bad = '{"jsonrpc":"1.0","method":"notifications/initialized"}';
  const { json } = await bridge.send(`[${bad},${PING}]`);
  assert.deepEqual(json, { jsonrpc: '2.0', id: 5, result: {} });
  for (const text of [bad, `[${bad}]`, '{"jsonrpc":"1.0","id" : 9,"result":{}}'])
    assert.equal((await bridge.send(text)).json, undefined, text);
});

test('refusals before the body was read are JSON-RPC with an integer code and the id null', async () => {
  const head = (more: string, path = '/mcp', host = 'localhost'): string =>
    `POST ${path} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n${more}`;
  const json = 'Content-Type: application/json\r\n';
  const key = `Authorization: Bearer ${hub.key}\r\n`;
  const body = `Content-Length: ${PING.length}\r\n\r\n${PING}`;
  const cases: readonly (readonly [status: number, text: string])[] = [
    [401, head(`${json}${body}`)],
    [401, head(`Authorization: Bearer mcphub_${'0'.repeat(64)}\r\n${json}${body}`)],
    [403, head(`${json}${key}${body}`, '/mcp', 'evil.example')],
    [403, head(`${json}${key}Origin: https://evil.example\r\n${body}`)],
    [404, head(`${json}${key}${body}`, '/mcp/a/b')],
    [413, head(`${json}${key}Content-Length: 99999999\r\n\r\n`)],
    [415, head(`Content-Type: text/plain\r\n${key}${body}`)],
    [417, head(`${json}${key}Expect: something\r\n${body}`)],
    [400, 'POST /mcp HTTP/1.1\r\nHost: localhost\r\nbroken header\r\n\r\n'],
    [431, head(`X-Long: ${'x'.repeat(20_000)}\r\n${body}`)],
  ];
  for (const [status, text] of cases) judgeEarly(status, await firstAnswer(text));
  const flood = await Promise.all(Array.from({ length: 40 }, () => firstAnswer(head(`${json}${body}`))));
  const limited = flood.find((answer) => answer?.status === 429);
  judgeEarly(429, limited);
});

test('the refusal of the supervisor is JSON-RPC with an integer code and the id null', {
  timeout: 60_000,
}, async () => {
  await using alone = await startHub({ config: { mcpServers: {} }, env: { MCPHUB_HANDOVER_MS: '1s' } });
  const { hub: workers = [] } = alone.processes();
  for (const pid of workers) process.kill(pid, 'SIGSTOP');
  const text = `POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}`;
  // A stopped worker takes one connection more before the others wait.
  await until(
    async () => {
      const { answers } = await rawExchange({ port: alone.port }, [text], { timeoutMs: 3000 });
      if (answers[0]?.status !== 503) return false;
      judgeEarly(503, answers[0]);
      return true;
    },
    30_000,
    'the answer of the supervisor',
  );
  for (const pid of workers) process.kill(pid, 'SIGCONT');
});

async function firstAnswer(text: string) {
  return (await rawExchange({ port: hub.port }, [text])).answers[0];
}

function judgeEarly(status: number, answer: { readonly status: number; readonly body: string } | undefined): void {
  const { jsonrpc, id, error } = JSON.parse(answer?.body ?? '{}');
  assert.deepEqual([answer?.status, jsonrpc, id], [status, '2.0', null], answer?.body);
  assert.ok(Number.isInteger(error.code) && typeof error.message === 'string', answer?.body);
}
