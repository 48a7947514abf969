/**
 * What a failing server says, and where it is, is for the operator; clients read the hub's own words and a reference
 * (SR-M3).
 */
import assert from 'node:assert/strict';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { type RunningHub, startHub, until } from '../support/hub.ts';
import { callTool, openSession, rpc } from '../support/mcp.ts';

const CANARY = /CANARY/;
const PAGE = 'stack trace of CANARY-PAGE';

/** A server whose calls fail with an error page that echoes its headers; `list` = it lists a tool first. */
async function startFailing(list: boolean): Promise<{ server: Server; port: number }> {
  const answer = (request: IncomingMessage, response: ServerResponse, text: string): void => {
    const message = text === '' ? {} : (JSON.parse(text) as { id?: number; method?: string });
    const results: Record<string, object> = {
      initialize: {
        protocolVersion: '2025-06-18',
        capabilities: { tools: {} },
        serverInfo: { name: 'failing', version: '1' },
      },
      'tools/list': { tools: [{ name: 'boom', inputSchema: { type: 'object' } }] },
      ping: {},
    };
    const result = list ? results[message.method ?? ''] : undefined;
    if (list && message.id === undefined) response.writeHead(202).end();
    else if (result === undefined) response.writeHead(500).end(`${PAGE} ${request.headers.authorization}`);
    else {
      response.writeHead(200, { 'content-type': 'application/json' });
      response.end(JSON.stringify({ jsonrpc: '2.0', id: message.id, result }));
    }
  };
  const server = createServer((request, response) => {
    let text = '';
    request.on('data', (chunk) => {
      text += String(chunk);
    });
    request.on('end', () => answer(request, response, text));
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  return { server, port: (server.address() as AddressInfo).port };
}

async function get(hub: RunningHub, path: string, key: string | undefined): Promise<string> {
  const headers: Record<string, string> = key === undefined ? {} : { authorization: `Bearer ${key}` };
  const answer = await fetch(`${hub.url}${path}`, { headers, signal: AbortSignal.timeout(10_000) });
  return answer.text();
}

async function memberKey(hub: RunningHub, groups: readonly string[]): Promise<string> {
  const answer = await fetch(`${hub.url}/api/keys`, {
    method: 'POST',
    headers: { authorization: `Bearer ${hub.key}`, 'content-type': 'application/json' },
    body: JSON.stringify({ user: 'ann', name: 'laptop', role: 'member', groups }),
  });
  return ((await answer.json()) as { secret: string }).secret;
}

const LISTS = ['tools/list', 'prompts/list', 'resources/list', 'resources/templates/list'];

// finding: SR-M3, SR-A12
test('a member reads name, phase, code and reference of a failing server, and the owner the rest', {
  timeout: 60_000,
}, async () => {
  const broken = await startFailing(false);
  const calls = await startFailing(true);
  const headers = { Authorization: 'Bearer CANARY-HEADER-TOKEN' };
  const url = `http://127.0.0.1:${broken.port}/CANARY-PATH?token=CANARY-QUERY-VALUE`;
  const exits = 'process.stderr.write("CANARY-STDERR\\n"); process.exit(7)';
  try {
    await using hub = await startHub({
      config: {
        mcpServers: {
          exits: { command: 'node', args: ['-e', exits], env: { TOKEN: 'CANARY-ENV-VALUE' } },
          missing: { command: 'CANARY-COMMAND', env: { PATH: '/srv/CANARY-BIN' } },
          nowhere: { command: 'node', cwd: '/srv/CANARY-DIRECTORY' },
          web: { type: 'streamable-http', url, headers },
          old: { type: 'sse', url, headers },
          refused: { type: 'streamable-http', url: 'http://127.0.0.1:1/CANARY-PATH' },
          calls: { type: 'streamable-http', url: `http://127.0.0.1:${calls.port}/mcp`, headers },
          outside: { command: 'node', args: ['-e', exits] },
        },
        groups: [{ name: 'team', servers: ['exits', 'missing', 'nowhere', 'web', 'old', 'refused', 'calls'] }],
      },
    });
    const failing = ['exits', 'missing', 'nowhere', 'web', 'old', 'refused'];
    const key = await memberKey(hub, ['team']);
    const mcp = `${hub.url}/mcp`;
    const states = async (): Promise<Record<string, { state: string; cause?: string; reference?: string }>> =>
      (await rpc(mcp, 'tools/list', {}, { key })).json?.result?._meta?.['mcphub/servers'] ?? {};
    await until(
      async () => {
        const now = await states();
        return now.calls?.state === 'ready' && failing.every((name) => now[name]?.reference !== undefined);
      },
      30_000,
      'all failures',
    );

    const read: string[] = [];
    for (const method of LISTS) read.push((await rpc(mcp, method, {}, { key })).text);
    read.push((await callTool(mcp, 'calls_boom', {}, { key })).text);
    read.push((await callTool(mcp, 'calls_boom', {}, { key, accept: 'text/event-stream, application/json' })).text);
    const session = await openSession(mcp, key);
    read.push((await callTool(mcp, 'calls_boom', {}, { key, session })).text);
    read.push((await rpc(mcp, 'resources/read', { uri: 'any://thing' }, { key })).text);
    for (const name of failing) read.push((await callTool(`${mcp}/${name}`, `${name}_any`, {}, { key })).text);
    const health = await get(hub, '/api/health', key);
    read.push(health);
    for (const text of read) {
      assert.equal(CANARY.test(text), false, text);
      assert.equal(text.includes(hub.dataDir), false, text);
      assert.equal(/127\.0\.0\.1|PATH|stderr/.test(text), false, text);
    }

    const named = JSON.parse(health) as { servers: { server: string }[] };
    assert.deepEqual(named.servers.map(({ server }) => server).sort(), ['calls', ...failing].sort());
    assert.deepEqual(Object.keys(named).sort(), ['catalogsTooLarge', 'servers', 'status', 'version']);
    assert.deepEqual(Object.keys(JSON.parse(await get(hub, '/api/health', undefined))), ['status']);

    // `outside` exists and `nothing` does not: a key of one group cannot tell.
    for (const at of ['/mcp', '/sse'])
      assert.equal(await get(hub, `${at}/outside`, key), await get(hub, `${at}/nothing`, key), at);

    const failed = (await callTool(mcp, 'calls_boom', {}, { key })).json.error.data;
    assert.deepEqual(
      [failed.server, failed.phase, failed.status, failed.code],
      ['calls', 'answer', 500, 'upstream-http'],
    );
    assert.match(await get(hub, '/api/servers/calls/logs', hub.key), new RegExp(`${failed.reference}.*CANARY-PAGE`));
    await until(() => hub.log.includes(failed.reference), 5000, 'the reference in the log');

    const { exits: told } = await states();
    assert.match(
      told?.cause ?? '',
      /^exits: The process of the server exited \(.*exit code 7.*reference [0-9a-f]{8}\)\.$/,
    );
    const owner = await get(hub, '/api/servers', hub.key);
    for (const word of ['CANARY-STDERR', 'CANARY-COMMAND', 'CANARY-BIN', 'CANARY-DIRECTORY'])
      assert.ok(owner.includes(word), `${word} in ${owner}`);
    assert.match(await get(hub, '/api/servers/exits/logs', hub.key), /CANARY-STDERR/);
    assert.ok(owner.includes('"reference":"'));
  } finally {
    broken.server.close();
    calls.server.close();
  }
});

// finding: SR-L4
test('a configured secret is masked for the operator too, in any encoding and across pieces of stderr', {
  timeout: 60_000,
}, async () => {
  const calls = await startFailing(true);
  const secret = 'S3CRET/of+the"server\u00e4';
  const header = 'HEADER-SECRET-VALUE';
  const says = `
    const text = process.env.TOKEN;
    const bytes = Buffer.from(text);
    for (const form of [text, encodeURIComponent(text), bytes.toString('base64'), bytes.toString('hex'), JSON.stringify(text)])
      process.stderr.write('seen ' + form + '\\n');
    process.stderr.write('half ' + text.slice(0, 9));
    setTimeout(() => { process.stderr.write(text.slice(9) + '\\n'); process.exit(7); }, 100);
  `;
  try {
    await using hub = await startHub({
      env: { SECRET_OF_TEST: secret, MCPHUB_LOG_LEVEL: 'debug' },
      config: {
        mcpServers: {
          // biome-ignore lint/suspicious/noTemplateCurlyInString: the notation of the file is meant
          leaks: { command: 'node', args: ['-e', says], env: { TOKEN: '${SECRET_OF_TEST}' } },
          calls: {
            url: `http://127.0.0.1:${calls.port}/mcp`,
            headers: { Authorization: `Bearer ${header}` },
          },
        },
      },
    });
    const called = async () => (await callTool(`${hub.url}/mcp`, 'calls_boom', {}, { key: hub.key })).json?.error?.data;
    await until(async () => (await called())?.code === 'upstream-http', 20_000, 'the failing call');
    const leaks = () => get(hub, '/api/servers/leaks/logs', hub.key);
    await until(async () => /half \*\*\*/.test(await leaks()), 20_000, 'the stderr of leaks');
    const bytes = Buffer.from(secret);
    const forms = [
      secret,
      encodeURIComponent(secret),
      bytes.toString('base64').slice(0, -4),
      bytes.toString('hex'),
      'S3CRET',
      header,
    ];
    const read = [
      hub.log,
      await leaks(),
      await get(hub, '/api/servers/calls/logs', hub.key),
      await get(hub, '/api/servers', hub.key),
      await get(hub, '/api/health', hub.key),
    ];
    for (const text of read) for (const form of forms) assert.equal(text.includes(form), false, `${form} in ${text}`);
    assert.match(await get(hub, '/api/servers/calls/logs', hub.key), /CANARY-PAGE Bearer \*\*\*|CANARY-PAGE \*\*\*/);
  } finally {
    calls.server.close();
    calls.server.closeAllConnections();
  }
});
