/**
 * Everything wrong that a person or a client can hand to a hub: each gets a clear error, and the hub is untouched
 * afterwards.
 */
// covers: A9, B6, B7, B9
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { request as httpRequest } from 'node:http';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { mcphub, type Ran } from '../support/cli.ts';
import { freePort, type RunningHub, startHub, statusOf, until } from '../support/hub.ts';
import { callTool, openSession, post, rpc } from '../support/mcp.ts';
import { faultServer } from '../support/real-servers.ts';

/** What "at once" may take on a shared machine. */
const SOON_MS = 1000;
const KOREAN = '깃허브';

describe('a start that cannot work', { timeout: 60_000 }, () => {
  let dir: string;
  before(() => {
    dir = mkdtempSync(join(tmpdir(), 'mcphub-bad-'));
  });
  after(() => {
    rmSync(dir, { recursive: true, force: true });
  });

  async function startWith(
    text: string,
    more: readonly string[] = [],
    env: Readonly<Record<string, string>> = {},
  ): Promise<Ran> {
    const file = join(dir, 'broken.json');
    writeFileSync(file, text);
    const port = String(await freePort());
    return mcphub(['start', '--config', file, '--data-dir', join(dir, 'data'), '--port', port, ...more], { env });
  }

  test('[A9] a broken configuration exits 78 and names all errors with file and line', async () => {
    const ran = await startWith(
      '{\n  "mcpServers": {\n    "a": { "command": 5 },\n    "b": { "url": "not a url" },\n    "c": { "comand": "node" }\n  },\n  "groups": { "g": { "servers": ["nobody"] } }\n}\n',
    );
    assert.equal(ran.code, 78, ran.stderr);
    for (const line of [3, 4, 5, 7]) assert.match(ran.stderr, new RegExp(`broken\\.json:${line}\\b`), ran.stderr);
    assert.match(ran.stderr, /nobody/);
    assertNoStack(ran);
  });

  test('[A9] a configuration that is no JSON exits 78 and names the line', async () => {
    const ran = await startWith('{\n  "mcpServers": {\n    "a": { "command": "node" ]\n  }\n}\n');
    assert.equal(ran.code, 78, ran.stderr);
    assert.match(ran.stderr, /broken\.json:3\b/);
    assertNoStack(ran);
  });

  test('[A9] a configuration file that is not there exits 78 and names it', async () => {
    const ran = await mcphub(['start', '--config', join(dir, 'missing.json'), '--data-dir', join(dir, 'data')]);
    assert.equal(ran.code, 78, ran.stderr);
    assert.match(ran.stderr, /missing\.json/);
    assertNoStack(ran);
  });

  test('[A9] a sealing secret that cannot be used exits 78 and names the variable', async () => {
    const empty = join(dir, 'empty-secret');
    writeFileSync(empty, '\n');
    for (const [env, said] of [
      [{ MCPHUB_SECRET: '0'.repeat(64) }, /MCPHUB_SECRET is well known or trivial/],
      [{ MCPHUB_SECRET_FILE: empty }, /empty-secret is empty/],
    ] as const) {
      const ran = await startWith('{"mcpServers":{}}', [], env);
      assert.equal(ran.code, 78, ran.stderr);
      assert.match(ran.stderr, said);
      assertNoStack(ran);
    }
  });

  test('[A9] an unknown command exits 2 and suggests one', async () => {
    const ran = await mcphub(['statu']);
    assert.equal(ran.code, 2);
    assert.match(ran.stderr, /unknown command 'statu'/);
    assert.match(ran.stderr, /Did you mean status\?/);
    assertNoStack(ran);
    const option = await mcphub(['start', '--prot', '1']);
    assert.equal(option.code, 2);
    assert.match(option.stderr, /--port/);
  });

  test('[A9] a port in use exits 78 and names the port and its holder', async () => {
    const holder = createServer();
    const port = await new Promise<number>((done) => {
      holder.listen(0, '127.0.0.1', () => done((holder.address() as { port: number }).port));
    });
    try {
      const ran = await startWith('{"mcpServers":{}}', ['--port', String(port)]);
      assert.equal(ran.code, 78, ran.stderr);
      assert.match(ran.stderr, new RegExp(`\\b${port}\\b`));
      assert.match(ran.stderr, new RegExp(`pid ${process.pid}\\b`));
      assertNoStack(ran);
    } finally {
      await new Promise<void>((done) => holder.close(() => done()));
    }
  });
});

describe('a running hub', { timeout: 120_000 }, () => {
  let hub: RunningHub;
  let mcp: string;
  let key: string;
  let idle: ReadonlyMap<string, number>;
  before(async () => {
    const servers = {
      fault: faultServer('normal'),
      [KOREAN]: faultServer('normal'),
      gone: { command: '/no/such/program', args: [] },
    };
    hub = await startHub({ config: { mcpServers: servers } });
    mcp = `${hub.url}/mcp`;
    key = hub.key;
    await until(
      async () => {
        const answer = await rpc(mcp, 'tools/list', {}, { key });
        const states = Object.values<{ state: string }>(answer.json.result._meta['mcphub/servers']);
        return states.filter(({ state }) => state === 'ready').length === 2;
      },
      30_000,
      'two servers ready',
    );
    idle = await sizes();
  });
  after(async () => {
    await hub[Symbol.asyncDispose]();
  });

  /** Everything that counts what is inside right now; memories (keys seen, sessions) are not among it. */
  async function sizes(): Promise<ReadonlyMap<string, number>> {
    const answer = await fetch(`${hub.url}/api/ceilings`, { headers: { authorization: `Bearer ${key}` } });
    assert.equal(answer.status, 200);
    const { ceilings } = (await answer.json()) as { ceilings: { name: string; size: number }[] };
    const busy = /^(admission\.calls|call\.|downstream\.(?!connections|refusal-traces)|upstream\.|kernel\.waits)/;
    return new Map(ceilings.filter(({ name }) => busy.test(name)).map(({ name, size }) => [name, size]));
  }

  test('[A9] a missing binary is named with its state and cause, and the others serve', async () => {
    const listed = await rpc(mcp, 'tools/list', {}, { key });
    const { gone, fault } = listed.json.result._meta['mcphub/servers'];
    assert.equal(fault.state, 'ready');
    assert.notEqual(gone.state, 'ready');
    // Clients read no paths; the operator does, below.
    assert.match(gone.cause, /^gone: .*phase start, not-found, reference [0-9a-f]{8}/);
    assert.ok(listed.json.result.tools.length >= 20);
    // Control hears of it from the hub, once a second.
    let row = '';
    await until(
      async () => {
        const ran = await mcphub(['servers', 'list', '--data-dir', hub.dataDir]);
        assert.equal(ran.code, 0, ran.stderr);
        row = ran.stdout.split('\n').find((line) => line.startsWith('gone')) ?? '';
        return /no\/such\/program/.test(row);
      },
      10_000,
      'the cause in the row of the server',
    );
    assert.match(row, /waiting|stopped|connecting/);
  });

  test('[A9] a server named in other letters is listed under legal names, keeps its title, and is called', async () => {
    const listed = await rpc(mcp, 'tools/list', {}, { key });
    const tools: { name: string; title?: string; annotations?: { title?: string } }[] = listed.json.result.tools;
    for (const { name } of tools) assert.match(name, /^[A-Za-z0-9_]{1,48}$/);
    const korean = tools.filter((tool) => (tool.title ?? tool.annotations?.title ?? '').includes(KOREAN));
    assert.ok(korean.length >= 10, JSON.stringify(tools.map(({ name, title }) => [name, title])));
    const echo = korean.find(({ name }) => name.endsWith('_echo'))?.name ?? '';
    const answer = await callTool(mcp, echo, { text: '안녕하세요' }, { key });
    assert.equal(answer.json.result.content[0].text, '안녕하세요');
    const path = await rpc(`${mcp}/${encodeURIComponent(KOREAN)}`, 'tools/list', {}, { key });
    assert.equal(path.status, 200, path.text);
    assert.equal(path.json.result.tools.length, korean.length);
  });

  test('[A9] a second hub on the same data directory exits 78 within a second, names the first, and leaves it alone', async () => {
    const file = join(hub.dataDir, 'mcp_settings.json');
    const port = String(await freePort());
    const bare = await mcphub(['--version']);
    const ran = await mcphub(['start', '--config', file, '--data-dir', hub.dataDir, '--port', port]);
    assert.equal(ran.code, 78, ran.stderr);
    assert.match(ran.stderr, new RegExp(`pid ${hub.pid}\\b`));
    assertNoStack(ran);
    const gateMs = 2 * SOON_MS + 20 + 2 * bare.ms;
    assert.ok(ran.ms <= gateMs, `${Math.round(ran.ms)} ms; a bare command takes ${Math.round(bare.ms)} ms`);
    assert.equal((await callTool(mcp, 'fault_echo', { text: 'still' }, { key })).json.result.content[0].text, 'still');
    assert.equal((await mcphub(['status', '--data-dir', hub.dataDir])).code, 0);
  });

  test('[A9] no key, a wrong key and an expired key are 401 with a plain Bearer challenge', async () => {
    const made = await mcphub([
      ...['keys', 'create', '--user', 'brief', '--name', 'short', '--expires', '0.00003'],
      ...['--data-dir', hub.dataDir],
    ]);
    assert.equal(made.code, 0, made.stderr);
    const expiring = made.stdout.trim();
    await until(async () => (await statusFor(expiring)) === 401, 10_000, 'the end of the short key');
    for (const wrong of [undefined, `mcphub_${'f'.repeat(64)}`, 'something else', expiring]) {
      const answer = await fetch(mcp, {
        method: 'POST',
        headers: { 'content-type': 'application/json', ...(wrong ? { authorization: `Bearer ${wrong}` } : {}) },
        body: '{"jsonrpc":"2.0","id":1,"method":"ping"}',
      });
      assert.equal(answer.status, 401);
      assert.equal(answer.headers.get('www-authenticate'), 'Bearer');
      const body = (await answer.json()) as { error: { code: number; message: string } };
      assert.ok(body.error.message.length > 10);
      assert.equal(JSON.stringify(body).includes(String(wrong)), false);
    }
  });

  async function statusFor(secret: string): Promise<number> {
    return (await rpc(mcp, 'ping', {}, { key: secret })).status;
  }

  test('[A9] a revoked key is refused within a second, also in its session', async () => {
    const made = await mcphub([
      ...['keys', 'create', '--user', 'kim', '--name', 'ide', '--json'],
      ...['--data-dir', hub.dataDir],
    ]);
    const { secret, key: row } = JSON.parse(made.stdout);
    await until(async () => (await statusFor(secret)) === 200, 5000, 'the new key works');
    const session = await openSession(mcp, secret);
    const revoked = await mcphub(['keys', 'revoke', row.id, '--data-dir', hub.dataDir]);
    assert.equal(revoked.code, 0, revoked.stderr);
    await until(
      async () => (await rpc(mcp, 'ping', {}, { key: secret, session })).status === 401,
      2 * SOON_MS + 20,
      'the refusal',
    );
  });

  test('[A9] malformed JSON is 400 −32700', async () => {
    for (const text of ['{"jsonrpc":"2.0","id":1,', 'hello', '', '{"a":1}}', '\u0000']) {
      const answer = await post(mcp, text, { key });
      assert.equal(answer.status, 400, JSON.stringify(text));
      assert.equal(answer.json.error.code, -32700, JSON.stringify(text));
      assert.equal(answer.json.id, null);
    }
  });

  test('[A9] JSON that is no message is 400 −32600', async () => {
    const odd = [
      '{}',
      '5',
      '"x"',
      '{"jsonrpc":"1.0","id":1,"method":"ping"}',
      '{"jsonrpc":"2.0","id":{},"method":"ping"}',
      '[]',
    ];
    for (const text of odd) {
      const answer = await post(mcp, text, { key });
      assert.equal(answer.status, 400, `${text}: ${answer.text}`);
      assert.equal(answer.json.error.code, -32600, text);
    }
  });

  test('[A9] a body of 5 MiB is 413, and others on the hub do not notice', async () => {
    const huge = `{"jsonrpc":"2.0","id":1,"method":"ping","params":{"x":"${'a'.repeat(5 * 1024 * 1024)}"}}`;
    const other = openSession(mcp, key);
    const [big, session] = await Promise.all([post(mcp, huge, { key }), other]);
    assert.equal(big.status, 413);
    assert.equal(big.json.error.data.setting, 'bodyBytes');
    assert.equal((await rpc(mcp, 'ping', {}, { key, session })).status, 200);
    const chunked = await sendChunked(huge);
    assert.equal(chunked, 413);
  });

  /** The same without a Content-Length. */
  function sendChunked(text: string): Promise<number> {
    return new Promise((done, fail) => {
      const sent = httpRequest(mcp, {
        method: 'POST',
        agent: false,
        headers: {
          'content-type': 'application/json',
          authorization: `Bearer ${key}`,
          'transfer-encoding': 'chunked',
        },
      });
      sent.on('response', (answer) => {
        answer.resume();
        done(answer.statusCode ?? 0);
      });
      sent.on('error', fail);
      for (let at = 0; at < text.length; at += 262_144) sent.write(text.slice(at, at + 262_144));
      sent.end();
    });
  }

  test('[A9] nesting of 100,000 is a quick 400', async () => {
    const deep = `{"jsonrpc":"2.0","id":1,"method":"ping","params":${'['.repeat(100_000)}${']'.repeat(100_000)}}`;
    const answer = await post(mcp, deep, { key });
    assert.equal(answer.status, 400);
    assert.equal(answer.json.error.data.code, 'too-deep');
    assert.ok(answer.ms < SOON_MS, `${answer.ms} ms`);
    const open = await post(mcp, '{"a":'.repeat(100_000), { key });
    assert.equal(open.status, 400);
  });

  test('[A9] a foreign Origin and an evil Host are 403, the own page and machine are not', async () => {
    assert.equal((await rpc(mcp, 'ping', {}, { key, headers: { origin: 'https://evil.example' } })).status, 403);
    assert.equal((await rpc(mcp, 'ping', {}, { key, headers: { origin: 'null' } })).status, 403);
    assert.equal((await rpc(mcp, 'ping', {}, { key, headers: { origin: 'http://localhost:6274' } })).status, 200);
    assert.equal(await statusWithHost('evil.example'), 403);
    assert.equal(await statusWithHost('localhost.evil.example:3000'), 403);
    assert.equal(await statusWithHost(`localhost:${hub.port}`), 200);
    assert.equal(await statusWithHost(`[::1]:${hub.port}`), 200);
  });

  function statusWithHost(host: string): Promise<number> {
    return new Promise((done, fail) => {
      const sent = httpRequest(mcp, {
        method: 'POST',
        agent: false,
        headers: { host, 'content-type': 'application/json', authorization: `Bearer ${key}` },
      });
      sent.on('response', (answer) => {
        answer.resume();
        done(answer.statusCode ?? 0);
      });
      sent.on('error', fail);
      sent.end('{"jsonrpc":"2.0","id":1,"method":"ping"}');
    });
  }

  test('[A9] unknown paths, groups, methods and content types have their own answers', async () => {
    assert.equal((await rpc(`${mcp}/nobody`, 'ping', {}, { key })).status, 404);
    assert.equal((await rpc(`${mcp}/a/b`, 'ping', {}, { key })).status, 404);
    assert.equal((await rpc(`${mcp}/%zz`, 'ping', {}, { key })).status, 404);
    assert.equal((await fetch(mcp, { headers: { authorization: `Bearer ${key}` } })).status, 405);
    assert.equal((await fetch(mcp, { method: 'PUT', headers: { authorization: `Bearer ${key}` } })).status, 405);
    const text = await post(mcp, '{"jsonrpc":"2.0","id":1,"method":"ping"}', {
      key,
      headers: { 'content-type': 'text/plain' },
    });
    assert.equal(text.status, 415);
    const method = await rpc(mcp, 'no/such', {}, { key, id: 'x' });
    assert.equal(method.status, 200);
    assert.equal(method.json.error.code, -32601);
    assert.equal(method.json.id, 'x');
    const tool = await callTool(mcp, 'no_such_tool', {}, { key });
    assert.equal(tool.json.error.code, -32602);
  });

  test('[A9] no Accept header is a 406', async () => {
    for (const accept of ['*/*', 'application/json', 'text/event-stream', 'text/html', 'image/png, */*;q=0.1']) {
      const answer = await rpc(mcp, 'tools/list', {}, { key, accept });
      assert.equal(answer.status, 200, accept);
      assert.match(answer.type, /^application\/json/);
      assert.ok(answer.json.result.tools.length >= 20);
    }
  });

  test('[A9] discovery of OAuth finds a JSON 404 everywhere', async () => {
    const paths = ['oauth-protected-resource', 'oauth-protected-resource/mcp', 'oauth-authorization-server'];
    for (const path of [...paths, 'openid-configuration']) {
      const answer = await fetch(`${hub.url}/.well-known/${path}`);
      assert.equal(answer.status, 404, path);
      assert.match(answer.headers.get('content-type') ?? '', /^application\/json/);
      await answer.json();
    }
    assert.equal((await fetch(`${hub.url}/register`, { method: 'POST' })).status, 404);
  });

  test('[A9] an unknown session is 404; DELETE ends one, and then it is 404 too', async () => {
    const sealed = `mcps_${'A'.repeat(200)}`;
    assert.equal((await rpc(mcp, 'ping', {}, { key, session: sealed })).status, 404);
    const session = await openSession(mcp, key);
    const altered = session.slice(0, -4) + (session.endsWith('AAAA') ? 'BBBB' : 'AAAA');
    assert.equal((await rpc(mcp, 'ping', {}, { key, session: altered })).status, 404);
    assert.equal((await rpc(mcp, 'ping', {}, { key, session })).status, 200);
    const headers = { authorization: `Bearer ${key}`, 'mcp-session-id': session };
    assert.equal((await fetch(mcp, { method: 'DELETE', headers })).status, 200);
    assert.equal((await rpc(mcp, 'ping', {}, { key, session })).status, 404);
    assert.equal((await fetch(mcp, { headers })).status, 404);
    assert.equal((await fetch(mcp, { method: 'DELETE', headers })).status, 404);
  });

  test('[B7] GET with a session is a stream that speaks at once', async () => {
    const session = await openSession(mcp, key);
    const abort = new AbortController();
    const answer = await fetch(mcp, {
      headers: { authorization: `Bearer ${key}`, 'mcp-session-id': session },
      signal: abort.signal,
    });
    assert.equal(answer.status, 200);
    assert.match(answer.headers.get('content-type') ?? '', /^text\/event-stream/);
    assert.equal(answer.headers.get('x-accel-buffering'), 'no');
    const first = await answer.body?.getReader().read();
    // An event where the version has one to begin with, else a comment.
    assert.match(Buffer.from(first?.value ?? []).toString(), /^(:|id:)/);
    abort.abort();
  });

  test('[A9] a batch gets an answer for each request, in a list, and none for notifications', async () => {
    const batch = [
      { jsonrpc: '2.0', id: 1, method: 'ping' },
      { jsonrpc: '2.0', method: 'notifications/initialized' },
      { jsonrpc: '2.0', id: 'b', method: 'no/such' },
      { jsonrpc: '2.0', id: 3, method: 'tools/call', params: { name: 'fault_add', arguments: { a: 1, b: 2 } } },
    ];
    const answer = await post(mcp, batch, { key });
    assert.equal(answer.status, 200, answer.text);
    const byId = new Map(answer.json.map((one: { id: unknown }) => [one.id, one]));
    assert.deepEqual([...byId.keys()].sort(), [1, 3, 'b'].sort());
    const sum = byId.get(3) as { result: { content: { text: string }[] } };
    assert.equal(sum.result.content[0]?.text, '3');
    assert.equal((await post(mcp, [{ jsonrpc: '2.0', method: 'notifications/initialized' }], { key })).status, 202);
    const many = Array.from({ length: 101 }, (_, id) => ({ jsonrpc: '2.0', id, method: 'ping' }));
    assert.equal((await post(mcp, many, { key })).status, 400);
  });

  test('[A9] after all that the hub is untouched', async () => {
    const answer = await callTool(mcp, 'fault_echo', { text: 'fine' }, { key });
    assert.equal(answer.json.result.content[0].text, 'fine');
    assert.equal(await statusOf(`${hub.url}/health`), 200);
    await until(
      async () => {
        const now = await sizes();
        return [...idle].every(([name, size]) => (now.get(name) ?? 0) <= size);
      },
      5000,
      'all ceilings back to idle',
    ).catch(async (fault) => {
      const now = await sizes();
      const over = [...now].filter(([name, size]) => size > (idle.get(name) ?? 0));
      throw new Error(`${fault.message}: ${JSON.stringify(over)}`);
    });
    assert.equal(hub.processes().hub?.length, 1);
    assert.equal(/"level":"error"/.test(hub.log.replaceAll(/.*no\/such\/program.*/g, '')), false, errorsOf(hub));
  });

  function errorsOf(running: RunningHub): string {
    return running.log
      .split('\n')
      .filter((line) => line.includes('"level":"error"'))
      .join('\n');
  }
});

function assertNoStack(ran: Ran): void {
  assert.equal(/^\s+at .+:\d+:\d+/m.test(ran.stderr + ran.stdout), false, ran.stderr);
}
