// runs: in pairs
import assert from 'node:assert/strict';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { type RunningHub, startHub, until } from '../support/hub.ts';
import { stdioServer } from '../support/load.ts';
import { callTool, type RpcAnswer } from '../support/mcp.ts';

/** How the tool of this name fails. `id` = the request's, as JSON. */
const FAULTS: Readonly<Record<string, (response: ServerResponse, id: string) => void>> = {
  unprocessable: (response) => response.writeHead(422, { 'content-type': 'text/plain' }).end('no such document'),
  large: (response) => response.writeHead(413).end(),
  patience: (response) => response.writeHead(429, { 'retry-after': '5' }).end('slow down'),
  noid: (response) => page(response, 500, 'application/json', '{"jsonrpc":"2.0","error":{"code":1,"message":"x"}}'),
  broke: (response) => page(response, 500, 'text/html', '<h1>Internal Server Error</h1>'),
  gateway: (response) => page(response, 502, 'text/html', '<h1>Bad Gateway</h1>'),
  away: (response) => page(response, 503, 'text/html', '<h1>Service Unavailable</h1>'),
  late: (response) => page(response, 504, 'text/html', '<h1>Gateway Timeout</h1>'),
  pause: (response) => response.writeHead(503, { 'retry-after': '30' }).end(),
  html: (response) => page(response, 200, 'text/html', '<h1>Welcome</h1>'),
  half: (response) => page(response, 200, 'application/json', '{"jsonrpc":"2.0","id":'),
  cut: (response) => response.socket?.destroy(),
};

/** Fails by the tool that is called; while `away` is true it answers nothing but 503. */
class MixedServer implements AsyncDisposable {
  away = false;
  readonly #server = createServer((request, response) => {
    let text = '';
    request.on('data', (chunk: Buffer) => {
      text += chunk.toString('utf8');
    });
    request.on('end', () => this.#answer(response, request.method === 'POST' ? text : ''));
  });

  async listen(): Promise<string> {
    await new Promise<void>((done) => this.#server.listen(0, '127.0.0.1', done));
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/mcp`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((done) => this.#server.close(done));
  }

  #answer(response: ServerResponse, text: string): void {
    if (this.away) return void response.writeHead(503, { 'retry-after': '3' }).end();
    if (text === '') return void response.writeHead(405).end();
    const { id, method, params } = JSON.parse(text) as { id?: unknown; method: string; params?: { name?: string } };
    if (id === undefined) return void response.writeHead(202).end();
    const fault = method === 'tools/call' ? FAULTS[params?.name ?? ''] : undefined;
    if (fault) return fault(response, JSON.stringify(id));
    page(response, 200, 'application/json', JSON.stringify({ jsonrpc: '2.0', id, result: resultOf(method) }));
  }
}

describe('failures of one tool', () => {
  const mixed = new MixedServer();
  let hub: RunningHub;
  const call = (name: string, args: object = {}): Promise<RpcAnswer> =>
    callTool(`${hub.url}/mcp`, name, args, { key: hub.key });

  before(async () => {
    const url = await mixed.listen();
    const slow = { ...stdioServer(), tools: { sleep: { callTimeoutMs: 100 }, stuck: { silenceMs: 200 } } };
    hub = await startHub({ config: { mcpServers: { mixed: { type: 'http', url }, slow } } });
    await until(async () => !!(await call('mixed_good')).json.result, 20_000, 'mixed answers');
    await until(async () => !!(await call('slow_echo', { text: 'x' })).json.result, 20_000, 'slow answers');
  });
  after(async () => {
    await hub[Symbol.asyncDispose]();
    await mixed[Symbol.asyncDispose]();
  });

  // case: SV9
  test('shut its server to nobody, in whatever way they fail', async () => {
    for (const kind of Object.keys(FAULTS)) {
      for (let round = 0; round < 6; round += 1) {
        const { json } = await call(`mixed_${kind}`);
        assert.notEqual(json.error?.data?.code, 'breaker-open', kind);
        if (kind === 'patience') assert.equal(json.error.data.retryAfterMs, 5000);
      }
      const { json } = await call('mixed_good');
      assert.ok(json.result, `${kind}: ${JSON.stringify(json)}`);
    }
    await Promise.all(Array.from({ length: 8 }, () => call('slow_sleep', { ms: 2000 })));
    assert.ok((await call('slow_echo', { text: 'x' })).json.result);
    assert.equal(hub.lines.filter(({ event }) => event === 'breaker-opened').length, 0);
  });

  // case: SX3
  test('are told to the operator: with tool and cause in the status and in the log', async () => {
    const { json } = await call('mixed_unprocessable');
    const { reference } = json.error.data;
    await until(async () => (await failureOf(hub))?.reference === reference, 5000, 'the status tells it');
    const failure = await failureOf(hub);
    assert.deepEqual([failure.code, failure.tool], ['upstream-http', 'unprocessable']);
    assert.match(failure.message, /HTTP 422/);
    const told = () => hub.lines.find((line) => line.event === 'call-answered' && line.reference === reference);
    await until(() => told() !== undefined, 5000, 'the log tells it');
    assert.equal(told()?.tool, 'unprocessable');
    assert.match(String(told()?.msg), /upstream-http: The server answered HTTP 422/);
  });

  // case: SV9, SX3
  test('a server that is away and asks for a pause gets it, visibly, and serves when it is over', async () => {
    mixed.away = true;
    await until(async () => (await call('mixed_good')).json.error?.data?.code === 'breaker-open', 10_000, 'it is open');
    const { json } = await call('mixed_good');
    assert.ok(json.error.data.retryAfterMs <= 3000);
    const row = async () => (await rowsOf(hub)).find(({ name }) => name === 'mixed');
    await until(async () => (await row())?.state === 'waiting', 5000, 'the status tells it');
    assert.match((await row())?.cause ?? '', /circuit breaker open after upstream-http: .*503/);
    const answer = await fetch(`${hub.url}/api/health`, { headers: { authorization: `Bearer ${hub.key}` } });
    const health = (await answer.json()) as Loose;
    assert.equal(health.status, 'degraded');
    const shown = health.servers.find(({ server }: Loose) => server === 'mixed');
    assert.deepEqual([shown.state, shown.code], ['waiting', 'breaker-open']);
    const line = hub.lines.find(({ event }) => event === 'breaker-opened');
    assert.match(String(line?.msg), /circuit breaker open for mixed after upstream-http: .*503/);
    mixed.away = false;
    await until(async () => !!(await call('mixed_good')).json.result, 10_000, 'mixed answers again');
    await until(async () => (await row())?.state === 'ready', 5000, 'the status tells it');
  });
});

// biome-ignore lint/suspicious/noExplicitAny: answers are looked into by the tests
type Loose = any;

async function rowsOf(hub: RunningHub): Promise<Loose[]> {
  const answer = await fetch(`${hub.url}/api/status`, { headers: { authorization: `Bearer ${hub.key}` } });
  return ((await answer.json()) as { servers: Loose[] }).servers;
}

async function failureOf(hub: RunningHub): Promise<Loose> {
  const rows = await rowsOf(hub);
  return rows.find(({ name }) => name === 'mixed').hubs[0]?.lastFailure;
}

function page(response: ServerResponse, status: number, type: string, body: string): void {
  response.writeHead(status, { 'content-type': type }).end(body);
}

function resultOf(method: string): object {
  if (method === 'initialize')
    return { protocolVersion: '2025-11-25', capabilities: { tools: {} }, serverInfo: { name: 'mixed', version: '1' } };
  const names = ['good', ...Object.keys(FAULTS)];
  if (method === 'tools/list') return { tools: names.map((name) => ({ name, inputSchema: { type: 'object' } })) };
  return method === 'tools/call' ? { content: [{ type: 'text', text: 'good' }] } : {};
}
