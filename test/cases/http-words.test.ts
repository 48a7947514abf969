// runs: in pairs
import assert from 'node:assert/strict';
import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { mcphub } from '../support/cli.ts';
import { type RunningHub, startHub, until } from '../support/hub.ts';
import { callTool, type RpcAnswer } from '../support/mcp.ts';

interface ClientQuestions {
  readonly id: string;
  readonly method: string;
  readonly tool: string;
  readonly headers: IncomingHttpHeaders;
}

/**
 * Answers the request itself, or false = as a well server does. By the first part of the path, which is the name of the
 * server.
 */
const SERVERS: Readonly<Record<string, (response: ServerResponse, asked: ClientQuestions) => unknown>> = {
  host: (response) => response.writeHead(403).end('Invalid Host: 127.0.0.1'),
  misdirected: (response) => response.writeHead(421).end('Invalid Host header'),
  disabled: (response) => response.writeHead(403).end('organisation has disabled MCP'),
  expired: (response) => response.writeHead(401, { 'www-authenticate': 'Bearer error="invalid_token"' }).end(),
  mute: (response) => response.writeHead(401, { 'content-length': '100' }).write('no key'),
  locked: (response, { id }) =>
    response.writeHead(400).end(`{"jsonrpc":"2.0","id":${id},"error":{"code":-32600,"message":"already initialized"}}`),
  echo: (response, { headers }) => response.writeHead(500).end(`bad header: ${headers['x-token']}\r\nat line 1`),
  scope: (response, { id, method, tool }) => {
    if (method !== 'tools/call') return false;
    const error = `"error":{"code":-32003,"message":"needs scope files:write"}`;
    response.writeHead(403, { 'www-authenticate': 'Bearer error="insufficient_scope", scope="files:write"' });
    return response.end(
      tool === 'own' ? `{"jsonrpc":"2.0","id":${id},${error}}` : `{"jsonrpc":"2.0","id":null,${error}}`,
    );
  },
  short: (response, { id, method }) => {
    if (method !== 'tools/call') return false;
    const body = `{"jsonrpc":"2.0","id":${id},"result":{"content":[]}}`.slice(0, 30);
    return response.writeHead(200, { 'content-type': 'application/json', 'content-length': 30 }).end(body);
  },
  wrong: (response, { method }) => method === 'tools/call' && response.writeHead(422).end('the document\n is locked'),
};

const server = createServer((request, response) => {
  const [, name = ''] = (request.url ?? '').split('/');
  let text = '';
  request.on('data', (chunk: Buffer) => {
    text += chunk.toString('utf8');
  });
  request.on('end', () => answer(name, request.url ?? '', response, text, request.headers));
});

function answer(name: string, url: string, response: ServerResponse, text: string, headers: IncomingHttpHeaders): void {
  if (name === 'sse') {
    if (text !== '') return void response.writeHead(404).end('no such page here');
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    return void response.write('event: endpoint\ndata: /messages?session_id=1\n\n');
  }
  if (url.startsWith('/messages')) return void response.writeHead(404).end('no such page here');
  if (text === '') return void response.writeHead(405).end();
  const { id, method, params } = JSON.parse(text) as { id?: number; method: string; params?: { name?: string } };
  if (id === undefined) return void response.writeHead(202).end();
  const own = SERVERS[name]?.(response, { id: String(id), method, tool: params?.name ?? '', headers });
  if (own !== false) return;
  response.setHeader('content-type', 'application/json');
  response.end(JSON.stringify({ jsonrpc: '2.0', id, result: resultOf(method) }));
}

function resultOf(method: string): object {
  if (method === 'initialize')
    return { protocolVersion: '2025-11-25', capabilities: { tools: {} }, serverInfo: { name: 'words', version: '1' } };
  const tools = ['own', 'other'].map((name) => ({ name, inputSchema: { type: 'object' } }));
  return method === 'tools/list' ? { tools } : { content: [] };
}

// biome-ignore lint/suspicious/noExplicitAny: answers are looked into by the tests
type Loose = any;
const SECRET = 'token-that-nobody-reads';

describe('what an HTTP server answers to a request that it refuses', () => {
  let hub: RunningHub;
  const call = (name: string): Promise<RpcAnswer> => callTool(`${hub.url}/mcp`, name, {}, { key: hub.key });

  before(async () => {
    await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
    const { port } = server.address() as AddressInfo;
    const base = `http://127.0.0.1:${port}`;
    const entries = Object.keys(SERVERS).map((name) => [name, { type: 'http', url: `${base}/${name}/mcp?key=k1` }]);
    const mcpServers: Record<string, Loose> = Object.fromEntries(entries);
    mcpServers.sse = { type: 'sse', url: `${base}/sse` };
    mcpServers.echo.headers = { 'X-Token': SECRET };
    hub = await startHub({ config: { mcpServers } });
  });
  after(async () => {
    await hub[Symbol.asyncDispose]();
    server.closeAllConnections();
    await new Promise((done) => server.close(done));
  });

  async function causeOf(name: string): Promise<string> {
    await until(async () => !!(await rowOf(hub, name)).cause, 15_000, `${name} has a cause`);
    return String((await rowOf(hub, name)).cause);
  }

  // case: SV24, SV30, SV38, SV45
  test('is in the cause of its status: method, address, status and the first words of the body', async () => {
    const expected: Readonly<Record<string, RegExp>> = {
      host: /HTTP 403 to POST http:\/\/127\.0\.0\.1:\d+\/host\/mcp\?key=…\. Its response: Invalid Host: 127\.0\.0\.1\. .*"headers": \{"Host".*Credentials are not/,
      misdirected: /HTTP 421 to POST .*Invalid Host header.*"headers": \{"Host"/,
      disabled: /for another reason: .*HTTP 403 to POST .*organisation has disabled MCP/,
      expired: /refused the hub’s credentials: .*HTTP 401 to POST .*WWW-Authenticate: error="invalid_token"/,
      mute: /refused the hub’s credentials: .*HTTP 401 to POST .*Its response: no key/,
      locked: /(HTTP 400 to POST|refused initialize).*already initialized/,
      echo: /HTTP 500 to POST .*Its response: bad header: \*\*\* at line 1/,
      sse: /HTTP 404 to POST http:\/\/127\.0\.0\.1:\d+\/messages\?session_id=…\. Its response: no such page here/,
    };
    for (const [name, words] of Object.entries(expected)) {
      const cause = await causeOf(name);
      assert.match(cause, words);
      assert.doesNotMatch(cause, /\.\.|\.,|k1/);
      const lost = () =>
        hub.lines.some(
          (line) => line.event === 'server-was-lost' && line.upstream === name && words.test(String(line.msg)),
        );
      await until(lost, 5000, `the log tells it of ${name}`);
    }
    assert.ok(!hub.log.includes(SECRET));
  });

  // case: SV30
  test('names the missing scope to the operator; an error with the id of the call reaches its caller', async () => {
    await until(async () => (await rowOf(hub, 'scope')).state === 'ready', 15_000, 'scope is ready');
    const own = (await call('scope_own')).json;
    assert.deepEqual([own.error.code, own.error.message], [-32003, 'needs scope files:write']);
    const other = (await call('scope_other')).json;
    assert.equal(other.error.data.code, 'upstream-auth');
    assert.equal(other.error.data.status, 403);
    assert.doesNotMatch(JSON.stringify(other), /files:write/);
    const failure = async () => (await rowOf(hub, 'scope')).hubs[0]?.lastFailure;
    await until(async () => (await failure())?.reference === other.error.data.reference, 5000, 'the status tells it');
    assert.match((await failure()).message, /scope "files:write".*HTTP 403 to POST /);
  });

  // case: SV40
  test('names the length of a body that is cut off', async () => {
    await until(async () => (await rowOf(hub, 'short')).state === 'ready', 15_000, 'short is ready');
    const { json } = await call('short_own');
    assert.equal(json.error.data.code, 'upstream-invalid');
    const failure = async () => (await rowOf(hub, 'short')).hubs[0]?.lastFailure;
    await until(async () => (await failure()) !== undefined, 5000, 'the status tells it');
    assert.match((await failure()).message, /in a body of 30 bytes, which is its Content-Length\./);
  });

  // case: SV9, SV45
  test('is in the last failure, and in the logs of a server without a process', async () => {
    await until(async () => !!(await call('wrong_own')).json.error?.data?.reference, 15_000, 'wrong fails');
    const row = async () => (await rowOf(hub, 'wrong')).hubs[0]?.lastFailure;
    await until(async () => (await row()) !== undefined, 5000, 'the status tells it');
    assert.match((await row()).message, /HTTP 422 to POST .*Its response: the document is locked\./);
    const logs = async (name: string) => {
      const { stdout, stderr } = await mcphub(['servers', 'logs', name, '--data-dir', hub.dataDir]);
      return `${stdout}${stderr}`;
    };
    const [wrong, host] = await Promise.all([logs('wrong'), logs('host')]);
    assert.match(wrong, /upstream-http: .*HTTP 422 .*the document is locked/);
    assert.match(host, /upstream-http: .*HTTP 403 .*Invalid Host/);
    const { stdout: list } = await mcphub(['servers', 'list', '--data-dir', hub.dataDir]);
    assert.match(list, /host .*Invalid Host: 127\.0\.0\.1.* not the reason, next attempt in/);
  });
});

async function rowOf(hub: RunningHub, name: string): Promise<Loose> {
  const answer = await fetch(`${hub.url}/api/status`, { headers: { authorization: `Bearer ${hub.key}` } });
  return ((await answer.json()) as { servers: Loose[] }).servers.find((row) => row.name === name);
}
