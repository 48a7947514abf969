// runs: in pairs
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { type RunningHub, startHub, until } from '../support/hub.ts';
import { callTool, rpc } from '../support/mcp.ts';

const SILENCE_MS = 1000;
const LONG_MS = 12_000;

/** A server of one thread: while a call is at work it reads nothing, uses no CPU and answers no ping. */
const CHILD = `
const results = {
  initialize: { protocolVersion: '2025-11-25', capabilities: { tools: {} }, serverInfo: { name: 'busy', version: '1' } },
  'tools/list': { tools: ['long', 'quick'].map((name) => ({ name, inputSchema: { type: 'object' } })) },
  'tools/call': { content: [{ type: 'text', text: 'pid ' + process.pid }] },
};
require('node:readline').createInterface({ input: process.stdin }).on('line', (line) => {
  const { id, method, params } = JSON.parse(line);
  if (id === undefined) return;
  if (params && params.name === 'long') Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, params.arguments.ms);
  process.stdout.write(JSON.stringify({ jsonrpc: '2.0', id, result: results[method] || {} }) + '\\n');
}).on('close', () => process.exit(0));
`;

/** The same over HTTP: requests wait until the call that is at work has ended. */
class BusyHttp implements AsyncDisposable {
  #work: Promise<unknown> = Promise.resolve();
  readonly #server = createServer((request, response) => {
    let text = '';
    request.on('data', (chunk: Buffer) => {
      text += chunk.toString('utf8');
    });
    request.on('end', () => {
      if (request.method !== 'POST') return void response.writeHead(405).end();
      const { id, method, params } = JSON.parse(text) as { id?: number; method: string; params?: Loose };
      this.#work = this.#work.then(async () => {
        if (params?.name === 'long') await new Promise((done) => setTimeout(done, params.arguments.ms));
        if (id === undefined) return void response.writeHead(202).end();
        const reply = JSON.stringify({ jsonrpc: '2.0', id, result: RESULTS[method] ?? {} });
        response.writeHead(200, { 'content-type': 'application/json' }).end(reply);
      });
    });
  });

  async listen(): Promise<string> {
    await new Promise<void>((done) => this.#server.listen(0, '127.0.0.1', done));
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/mcp`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((done) => this.#server.close(done));
  }
}

const RESULTS: Readonly<Record<string, object>> = {
  initialize: {
    protocolVersion: '2025-11-25',
    capabilities: { tools: {} },
    serverInfo: { name: 'busy', version: '1' },
  },
  'tools/list': { tools: ['long', 'quick'].map((name) => ({ name, inputSchema: { type: 'object' } })) },
  'tools/call': { content: [{ type: 'text', text: 'done' }] },
};

// biome-ignore lint/suspicious/noExplicitAny: answers are looked into by the test
type Loose = any;

// case: SV36
describe('a call beside another that may be silent for longer', { timeout: 120_000, concurrency: true }, () => {
  const http = new BusyHttp();
  let hub: RunningHub;
  const call = async (name: string, args: object = {}, key = hub.key): Promise<Loose> =>
    (await callTool(`${hub.url}/mcp`, name, args, { key, timeoutMs: 60_000 })).json;

  before(async () => {
    const tools = { long: { silenceMs: 60_000 } };
    const mcpServers = {
      stdio: { command: process.execPath, args: ['-e', CHILD], tools },
      http: { type: 'http', url: await http.listen(), tools },
    };
    hub = await startHub({ config: { mcpServers }, env: { MCPHUB_SILENCE_MS: String(SILENCE_MS) } });
    for (const server of Object.keys(mcpServers))
      await until(async () => (await call(`${server}_quick`)).result !== undefined, 20_000, server);
  });
  after(async () => {
    await hub?.[Symbol.asyncDispose]();
    await http[Symbol.asyncDispose]();
  });

  for (const server of ['stdio', 'http']) {
    test(`is told so when silence ends it, and the circuit stays closed (${server})`, async () => {
      const before = await call(`${server}_quick`);
      const bornMs = performance.now();
      const long = call(`${server}_long`, { ms: LONG_MS });
      await until(async () => (await rowOf(hub, server)).hubs[0]?.inFlight === 1, 5000, 'the long call is inside');
      // More failures in a row than open a circuit, within the silence that the long call may keep.
      for (let round = 0; round < 7 && performance.now() - bornMs < LONG_MS - 2 * SILENCE_MS; round += 1) {
        const { error } = await call(`${server}_quick`);
        assert.deepEqual([error?.data.code, error?.data.reason], ['upstream-silent', 'other-call-at-work']);
        assert.match(error.message, /other-call-at-work/);
      }
      const row = await rowOf(hub, server);
      assert.equal(row.state, 'ready', JSON.stringify(row));
      assert.equal((await long).result?.isError ?? false, false);
      assert.ok((await long).result, JSON.stringify(await long));
      assert.deepEqual((await call(`${server}_quick`)).result, before.result, 'the same process serves on');
      const opened = hub.lines.filter(({ event, upstream }) => event === 'breaker-opened' && upstream === server);
      assert.deepEqual(opened, []);
      assert.equal((await rpc(`${hub.url}/mcp`, 'ping', {}, { key: hub.key })).status, 200);
    });
  }
});

async function rowOf(hub: RunningHub, name: string): Promise<Loose> {
  const answer = await fetch(`${hub.url}/api/status`, { headers: { authorization: `Bearer ${hub.key}` } });
  return ((await answer.json()) as { servers: Loose[] }).servers.find((row) => row.name === name);
}
