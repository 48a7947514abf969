// runs: in pairs
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { type RunningHub, startHub, until } from '../support/hub.ts';
import { callTool, post, type RpcAnswer } from '../support/mcp.ts';

/**
 * A child that ends in one way: `idle` (code 0 after 300 ms without a message), `once` (0 after each answer, without a
 * final line end), `large` (1 at a line above 4096 bytes), `cancel` (1 at a cancel), `cut` (0 in the middle of an
 * answer).
 */
const CHILD = `
const way = process.argv[1];
const results = {
  initialize: { protocolVersion: '2025-11-25', capabilities: { tools: {} }, serverInfo: { name: way, version: '1' } },
  'tools/list': { tools: ['echo', 'hang'].map((name) => ({ name, inputSchema: { type: 'object' } })) },
  'tools/call': { content: [{ type: 'text', text: 'pid ' + process.pid }] },
};
let idle;
let rest = '';
process.stdin.on('data', (chunk) => {
  const lines = (rest + chunk).split('\\n');
  rest = lines.pop();
  for (const line of lines) take(line);
});
process.stdin.on('end', () => process.exit(0));
function take(line) {
  if (way === 'large' && line.length > 4096) process.exit(1);
  const { id, method, params } = JSON.parse(line);
  if (way === 'cancel' && method === 'notifications/cancelled') process.exit(1);
  if (way === 'idle') {
    clearTimeout(idle);
    idle = setTimeout(() => process.exit(0), 300);
  }
  if (id === undefined || (params && params.name === 'hang')) return;
  const text = JSON.stringify({ jsonrpc: '2.0', id, result: results[method] || {} });
  if (method !== 'tools/call' || !['once', 'cut'].includes(way)) return void process.stdout.write(text + '\\n');
  process.stdout.write(way === 'cut' ? text.slice(0, -9) : text, () => process.exit(0));
}
`;
const WAYS = ['idle', 'once', 'large', 'cancel', 'cut'];

describe('children that end by themselves', () => {
  let hub: RunningHub;
  let other = '';
  const call = (name: string, args: object = {}, key = hub.key): Promise<RpcAnswer> =>
    callTool(`${hub.url}/mcp`, name, args, { key });

  before(async () => {
    const servers = WAYS.map((way) => [way, { command: process.execPath, args: ['-e', CHILD, way] }]);
    hub = await startHub({ config: { mcpServers: Object.fromEntries(servers) } });
    for (const way of WAYS.filter((one) => one !== 'cut'))
      await until(async () => !!(await call(`${way}_echo`)).json.result, 20_000, way);
    const made = await post(`${hub.url}/api/keys`, { user: 'other', name: 'other' }, { key: hub.key });
    other = made.json.secret;
    assert.ok(other, made.text);
  });
  after(() => hub[Symbol.asyncDispose]());

  // case: SV46
  test('with code 0 while idle sleep, and the next call starts them, each time', async () => {
    const pids = new Set<string>();
    for (let round = 0; round < 4; round += 1) {
      await until(async () => (await stateOf(hub, 'idle')) === 'asleep', 10_000, 'it sleeps');
      const { json } = await call('idle_echo');
      assert.ok(json.result, JSON.stringify(json));
      pids.add(json.result.content[0].text);
    }
    assert.equal(pids.size, 4);
    assert.deepEqual(lossesOf(hub, 'idle'), []);
  });

  // case: SV31
  test('with code 0 after each answer are no crash loop; a last answer needs no line end, and a cut one is named so', async () => {
    for (let round = 0; round < 5; round += 1) {
      await until(async () => (await stateOf(hub, 'once')) === 'asleep', 10_000, 'it has ended');
      const { json } = await call('once_echo');
      assert.ok(json.result, JSON.stringify(json));
    }
    assert.deepEqual(lossesOf(hub, 'once'), []);
    const { json } = await call('cut_echo');
    assert.equal(json.error.data.code, 'upstream-exit', JSON.stringify(json));
    const told = () => hub.lines.some(({ msg }) => String(msg).includes('while it sent a response'));
    await until(told, 5000, 'the log says that it was cut');
  });

  // case: SV69
  test('at one user’s large calls are there for others at once, and that user is refused by name after three', async () => {
    const text = 'x'.repeat(12_000);
    for (let round = 0; round < 3; round += 1) {
      assert.equal((await call('large_echo', { text })).json.error.data.code, 'upstream-exit');
      const { json } = await call('large_echo', {}, other);
      assert.ok(json.result, JSON.stringify(json));
    }
    const { json } = await call('large_echo');
    assert.equal(json.error.data.code, 'server-key-paused');
    assert.match(json.error.message, /^large: Calls with this key have crashed the server/);
    assert.ok((await call('large_echo', {}, other)).json.result);
  });

  // case: SV23
  test('at a cancel are sent none after the second time, and others are served meanwhile', async () => {
    for (let round = 0; round < 4; round += 1) {
      const leaving = new AbortController();
      const left = fetch(`${hub.url}/mcp`, {
        method: 'POST',
        headers: { authorization: `Bearer ${hub.key}`, 'content-type': 'application/json', accept: 'application/json' },
        body: '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"cancel_hang","arguments":{}}}',
        signal: leaving.signal,
      }).catch(() => undefined);
      await until(async () => ((await rowOf(hub, 'cancel'))?.inFlight ?? 0) > 0, 10_000, 'the call runs');
      leaving.abort();
      await left;
      if (round < 2) await until(() => lossesOf(hub, 'cancel').length === round + 1, 10_000, 'it has ended');
      const { json } = await call('cancel_echo', {}, other);
      assert.ok(json.result, `${round}: ${JSON.stringify(json)}`);
    }
    assert.equal(lossesOf(hub, 'cancel').length, 2);
    assert.equal(hub.lines.filter(({ event }) => event === 'cancels-withheld').length, 1);
  });
});

// biome-ignore lint/suspicious/noExplicitAny: answers are looked into by the tests
type Loose = any;

async function rowOf(hub: RunningHub, name: string): Promise<Loose> {
  const answer = await fetch(`${hub.url}/api/status`, { headers: { authorization: `Bearer ${hub.key}` } });
  const { servers } = (await answer.json()) as { servers: Loose[] };
  return servers.find((row) => row.name === name)?.hubs[0];
}

async function stateOf(hub: RunningHub, name: string): Promise<string> {
  return (await rowOf(hub, name))?.state;
}

/** Lives of this server that ended badly, as the log tells them. */
function lossesOf(hub: RunningHub, name: string): unknown[] {
  return hub.lines.filter(({ event, upstream }) => event === 'server-was-lost' && upstream === name);
}
