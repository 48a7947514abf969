import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, rm, stat } from 'node:fs/promises';
import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http';
import { connect, createServer as createSocketServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { type Loaded, parseConfig } from '../config/load.ts';
import { Control } from '../control/control.ts';
import type { Unconfirmed } from '../relay/keys-server.ts';
import type { ReportedStatus } from '../relay/relay-messages.ts';
import { createRuntime } from '../runtime/runtime.ts';
import { listAudit } from '../store/audit.ts';
import { openStore } from '../store/store.ts';
import { AdminServer } from './admin-server.ts';
import { createHubAsker } from './ask-hub.ts';
import type {
  CeilingsAnswer,
  KeyMade,
  KeysAnswer,
  LogsAnswer,
  RestartAnswer,
  StatusAnswer,
  WaitsAnswer,
} from './contract.ts';
import { Routes } from './routes.ts';

const TOKEN = 'a'.repeat(64);
const CONFIG = {
  mcpServers: { 'Über <b>': { url: 'http://127.0.0.1:1/mcp' }, child: { command: 'x' } },
  limits: { askMs: 200, forwardMs: 1500 },
};

async function bench(t: TestContext, more: { hubs?: number; unconfirmed?: readonly Unconfirmed[] } = {}) {
  const runtime = createRuntime();
  const dir = await mkdtemp(join(tmpdir(), 'mcphub-admin-'));
  const loaded: { next: Loaded } = { next: parseConfig(JSON.stringify(CONFIG), '/x/mcp_settings.json', {}) };
  const { config } = loaded.next;
  assert.ok(config, JSON.stringify(loaded.next.problems));
  const { limits } = config;
  const store = await openStore({ runtime, limits, dir }, runtime.deadline(5000));
  const broadcast = {
    publish: () => [],
    publishKeys: () => {},
    workers: () => [],
    awaitConfirmation: async () => more.unconfirmed ?? [],
    sendSessionRecords: () => {},
    relist: () => {},
  };
  const workers = more.hubs ?? 1;
  const control = new Control({ runtime, limits, store, config, load: async () => loaded.next, workers, broadcast });
  await control.start(runtime.deadline(5000));
  const sources = {
    runtime,
    control,
    store,
    version: '1.2.3',
    port: 3000,
    startedAtMs: 1,
    bornMs: runtime.clock.nowMs(),
    arrivals: { operator: 0, workers: 0, refused: 0 },
  };
  const routes = new Routes({ ...sources, limits, asker: createHubAsker({ runtime, limits, runDir: dir }) });
  const socketPath = join(dir, 'control.sock');
  const sockets = { operator: socketPath, workers: join(dir, 'workers.sock') };
  const token: { now: string | undefined } = { now: TOKEN };
  const beat = (connections: number) => ({
    pid: 1,
    rssBytes: 2,
    heapBytes: 3,
    loopMaxMs: 4,
    calls: 0,
    connections,
    streams: 0,
    last: '',
    waits: '',
  });
  const admin = new AdminServer({ runtime, limits, sockets, workerToken: () => token.now, routes, sources, beat });
  await admin.start(runtime.deadline(1000));
  t.after(async () => {
    await admin.stop(runtime.deadline(1000));
    await control.stop(runtime.deadline(1000));
    await store.close(runtime.deadline(1000));
    await rm(dir, { recursive: true, force: true });
  });
  const { arrivals } = sources;
  return { runtime, control, store, dir, socketPath, token, arrivals, admin, loaded, ask: askerOn(sockets) };
}

interface Answered {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  readonly text: string;
}

interface AskMore {
  readonly body?: unknown;
  /** Headers of a worker's request, over the workers' socket. */
  readonly worker?: Readonly<Record<string, string>>;
  readonly headers?: Readonly<Record<string, string>>;
}

function askerOn(sockets: { readonly operator: string; readonly workers: string }) {
  return async <T>(method: string, path: string, more: AskMore = {}) => {
    const payload = typeof more.body === 'string' ? more.body : JSON.stringify(more.body);
    const headers = { host: 'hub.test:3000', ...more.headers, ...more.worker };
    const socketPath = more.worker ? sockets.workers : sockets.operator;
    const sent = request({ socketPath, method, path, headers, agent: false });
    sent.end(payload);
    const [response] = (await once(sent, 'response')) as [IncomingMessage];
    let text = '';
    for await (const chunk of response) text += chunk;
    const answered: Answered = { status: response.statusCode ?? 0, headers: response.headers, text };
    const isJson = response.headers['content-type'] === 'application/json';
    return { ...answered, body: (isJson ? JSON.parse(text) : undefined) as T };
  };
}

type Failed = { error: { code: string; message: string; errors?: string[] } };

/** Starts a worker's private socket with the given responses. */
async function fakeHub(
  t: TestContext,
  dir: string,
  slot: number,
  serve: (path: string) => [number, object] | undefined,
) {
  const asked: string[] = [];
  const server = createServer((ask: IncomingMessage, answer: ServerResponse) => {
    asked.push(`${ask.method} ${ask.url}`);
    const found = serve(ask.url ?? '');
    if (found) answer.writeHead(found[0]).end(JSON.stringify(found[1]));
  });
  server.listen(join(dir, `hub-${slot}.sock`));
  await once(server, 'listening');
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return asked;
}

const status = (server: string, state: string, cause?: string): ReportedStatus => ({
  server,
  name: server,
  transport: 'http',
  state,
  cause,
  sinceMs: 10,
  tools: 1,
  inFlight: 0,
  queued: 0,
  calls: 3,
  failures: 0,
  restarts: 0,
  silenceMs: 5000,
});

test('serves probe and heartbeat on a socket of its owner only', async (t) => {
  const { socketPath, ask } = await bench(t);
  assert.equal((await stat(socketPath)).mode & 0o777, 0o600);
  for (const path of ['/probe', '/livez']) {
    const { status: code, body } = await ask('GET', path);
    assert.deepEqual([code, body], [200, { status: 'ok', role: 'control', pid: process.pid }]);
  }
  const stream = request({ socketPath, path: '/beat', agent: false });
  stream.end();
  const [response] = (await once(stream, 'response')) as [IncomingMessage];
  const [first] = (await once(response, 'data')) as [Buffer];
  const [second] = (await once(response, 'data')) as [Buffer];
  for (const line of [first, second]) assert.equal(JSON.parse(line.toString()).rssBytes, 2);
  stream.destroy();
});

test('creates a key, lists it without its secret, rotates and revokes it', async (t) => {
  const { ask } = await bench(t);
  const made = await ask<KeyMade>('POST', '/api/keys', { body: { user: 'ann', name: 'laptop' } });
  assert.equal(made.status, 201);
  assert.match(made.body.secret, /^mcphub_[0-9a-f]{64}$/);
  const listed = await ask<KeysAnswer>('GET', '/api/keys');
  assert.deepEqual([listed.body.keys[0]?.user, listed.body.keys[0]?.role], ['ann', 'member']);
  assert.ok(!listed.text.includes(made.body.secret) && !listed.text.includes('hash'));
  const rotated = await ask<KeyMade>('POST', `/api/keys/${made.body.key.prefix}/rotate`);
  assert.equal(rotated.status, 200);
  const ended = await ask('DELETE', `/api/keys/${rotated.body.key.id}`);
  assert.equal(ended.status, 200);
  const left = await ask<KeysAnswer>('GET', '/api/keys');
  assert.ok(left.body.keys.length === 2 && left.body.keys.every(({ revokedAtMs }) => revokedAtMs !== undefined));
});

test('answers invalid requests with an explanation and the right status', async (t) => {
  const { ask } = await bench(t);
  const expected: [string, string, unknown, number, string][] = [
    ['POST', '/api/keys', '{', 400, 'parse-error'],
    ['POST', '/api/keys', { user: 'a' }, 400, 'invalid-request'],
    ['POST', '/api/keys', { user: 'a', name: 'b', role: 'root' }, 400, 'invalid-request'],
    ['POST', '/api/keys', 'x'.repeat(70_000), 413, 'body-too-large'],
    ['DELETE', '/api/keys/none', undefined, 404, 'not-found'],
    ['PUT', '/api/keys', {}, 405, 'method-not-allowed'],
    ['POST', '/api/status', {}, 405, 'method-not-allowed'],
    ['GET', '/api/none', undefined, 404, 'not-found'],
    ['GET', '/api/__proto__', undefined, 404, 'not-found'],
    ['POST', '/api/servers/none/restart', undefined, 404, 'not-found'],
    ['POST', '/api/servers/%E0%A4%A/restart', undefined, 404, 'not-found'],
  ];
  for (const [method, path, body, code, word] of expected) {
    const answer = await ask<Failed>(method, path, { body });
    assert.deepEqual([answer.status, answer.body.error.code], [code, word], `${method} ${path}`);
  }
});

test('accepts workers’ requests only with token, owner role and the id of a live owner key', async (t) => {
  const { ask, token, arrivals, control } = await bench(t);
  const made = async (body: object): Promise<KeyMade> => (await ask<KeyMade>('POST', '/api/keys', { body })).body;
  const owner = (await made({ user: 'ann', name: 'laptop', role: 'owner' })).key;
  const member = (await made({ user: 'bob', name: 'phone' })).key;
  const revoked = (await made({ user: 'eve', name: 'old', role: 'owner' })).key;
  await ask('DELETE', `/api/keys/${revoked.id}`);
  const right = { 'x-mcphub-worker': TOKEN, 'x-mcphub-role': 'owner', 'x-mcphub-key-id': owner.id };
  assert.equal((await ask('GET', '/api/status', { worker: right })).status, 200);
  assert.equal(arrivals.workers, 1);
  const wrong: [string, Record<string, string>, number][] = [
    ['no headers', {}, 401],
    ['no token', { 'x-mcphub-role': 'owner', 'x-mcphub-key-id': owner.id }, 401],
    ['a wrong token', { ...right, 'x-mcphub-worker': 'b'.repeat(64) }, 401],
    ['a longer token', { ...right, 'x-mcphub-worker': `${TOKEN}a` }, 401],
    ['no role', { 'x-mcphub-worker': TOKEN, 'x-mcphub-key-id': owner.id }, 403],
    ['another role', { ...right, 'x-mcphub-role': 'OWNER' }, 403],
    ['no key', { 'x-mcphub-worker': TOKEN, 'x-mcphub-role': 'owner' }, 403],
    ['an unknown key', { ...right, 'x-mcphub-key-id': 'k_none' }, 403],
    ['a member’s key', { ...right, 'x-mcphub-key-id': member.id }, 403],
    ['a revoked key', { ...right, 'x-mcphub-key-id': revoked.id }, 403],
  ];
  for (const path of ['/', '/beat', '/probe', '/api/status', '/api/keys', '/none']) {
    for (const [name, worker, code] of wrong)
      for (const method of ['GET', 'POST', 'DELETE'])
        assert.equal((await ask(method, path, { worker })).status, code, `${name}: ${method} ${path}`);
  }
  for (const path of ['/', '/beat', '/probe'])
    assert.equal((await ask('GET', path, { worker: right })).status, 404, `${path} is the operator’s`);
  token.now = undefined;
  assert.equal((await ask('GET', '/api/status', { worker: right })).status, 401, 'without a token nobody is a worker');
  assert.equal(control.keys.list().length, 3);
});

test('refuses requests with headers of a worker on the operator’s socket', async (t) => {
  const { ask, arrivals, runtime } = await bench(t);
  const refused: string[] = [];
  runtime.bus.listen((fact) => {
    if (fact.type === 'api-refused') refused.push(`${fact.socket} ${fact.reason}`);
  });
  for (const name of ['x-mcphub-worker', 'x-mcphub-role', 'x-mcphub-key-id']) {
    for (const path of ['/', '/beat', '/probe', '/api/status']) {
      const answer = await ask<Failed>('GET', path, { headers: { [name]: 'owner' } });
      assert.deepEqual([answer.status, answer.body.error.code], [403, 'forbidden'], `${name} ${path}`);
    }
  }
  assert.deepEqual(arrivals, { operator: 0, workers: 0, refused: 12 });
  assert.deepEqual(refused, Array(12).fill('operator forbidden'));
});

// finding: SR-L2
test('names in the audit the user and the key that acted through a worker', async (t) => {
  const { ask, store, runtime } = await bench(t);
  const body = { user: 'ann', name: 'laptop', role: 'owner' };
  const { key } = (await ask<KeyMade>('POST', '/api/keys', { body })).body;
  const worker = { 'x-mcphub-worker': TOKEN, 'x-mcphub-role': 'owner', 'x-mcphub-key-id': key.id };
  const made = await ask<KeyMade>('POST', '/api/keys', { worker, body: { user: 'bob', name: 'phone' } });
  assert.equal(made.status, 201);
  const [last, first] = await listAudit(store, 2, runtime.deadline(1000));
  assert.equal(last?.actor, `ann, key "laptop" (${key.prefix})`);
  assert.equal(first?.actor, 'local');
});

test('an owner key cannot be limited to groups', async (t) => {
  const { ask } = await bench(t);
  const body = { user: 'a', name: 'b', role: 'owner', groups: ['any'] };
  const answer = await ask<Failed>('POST', '/api/keys', { body });
  assert.deepEqual([answer.status, answer.body.error.code], [400, 'invalid-request']);
  assert.match(answer.body.error.message, /owner key .* cannot be limited to groups/);
});

test('shows names and figures on the operator’s page, and escapes everything', async (t) => {
  const { ask, control } = await bench(t);
  control.handlers.workerConnected(1, 99, 0);
  const slug = control.state.servers[0]?.slug ?? '';
  control.handlers.statusesReceived(1, [status(slug, 'waiting', 'no <script>alert(1)</script>')]);
  const mine = await ask('GET', '/?x=1');
  assert.match(mine.headers['content-type'] ?? '', /text\/html/);
  assert.match(String(mine.headers['content-security-policy']), /default-src 'none'/);
  assert.ok(mine.text.includes('Über &lt;b&gt;') && mine.text.includes('no &lt;script&gt;'));
  assert.ok(!mine.text.includes('<script') && !mine.text.includes('<b>'));
});

test('shows for each server on the operator’s page what `servers list` shows', async (t) => {
  const { ask, control } = await bench(t);
  const [first, second] = control.state.servers;
  control.handlers.workerConnected(1, 99, 0);
  control.handlers.statusesReceived(1, [
    {
      ...status(first?.slug ?? '', 'waiting', 'circuit breaker open after 5 failures: <i>gone</i>.'),
      ...{ retryMs: 12_000, reference: 'abc123', calls: 41, failures: 6 },
    },
    {
      ...status(second?.slug ?? '', 'ready'),
      unread: [{ kind: 'prompt', why: 'child refused prompts/list: <b>no</b>', rows: 3, isWanted: true }],
      lastFailure: {
        ...{ code: 'upstream-exit', message: 'exit code 1. Its last lines:\nTypeError: <u>x</u>', tool: 'parse' },
        ...{ reference: 'def456', agoMs: 4000 },
      },
    },
  ]);
  const { text } = await ask('GET', '/');
  for (const part of [
    /circuit breaker open after 5 failures: &lt;i&gt;gone&lt;\/i&gt;, next attempt in 1[12]\.\d s \[abc123\]/,
    /prompts not read completely \(3 read\): child refused prompts\/list: &lt;b&gt;no/,
    /a call of parse failed 4\.\d s ago: upstream-exit: exit code 1\. Its last lines:\nTypeError: &lt;u&gt;x/,
    /<td class="number">41<\/td><td class="number">6<\/td>/,
  ])
    assert.match(text, part);
  assert.ok(!/<[bui]>/.test(text));
});

test('reports workers, servers and configuration errors in the status', async (t) => {
  const { ask, control, loaded } = await bench(t);
  const slug = control.state.servers[0]?.slug ?? '';
  control.handlers.workerConnected(1, 99, 0);
  control.handlers.workerConnected(2, 98, 0);
  control.handlers.statusesReceived(1, [status(slug, 'waiting', 'refused')]);
  control.handlers.statusesReceived(2, [status(slug, 'ready')]);
  control.handlers.workerDisconnected(3);
  loaded.next = parseConfig('{ "mcpServers": 5 }', '/x/mcp_settings.json', {});
  const reload = await ask<Failed>('POST', '/api/config/reload');
  assert.deepEqual([reload.status, reload.body.error.code], [422, 'config-invalid']);
  assert.ok((reload.body.error.errors?.length ?? 0) > 0);
  const { body } = await ask<StatusAnswer>('GET', '/api/status');
  assert.equal(body.version, '1.2.3');
  assert.deepEqual(
    body.hubs.map(({ slot, connected, pid }) => [slot, connected, pid]),
    [
      [1, true, 99],
      [2, true, 98],
      [3, false, undefined],
    ],
  );
  assert.deepEqual(
    body.servers.map(({ name, state, hubs }) => [name, state, hubs.length]),
    [
      ['Über <b>', 'ready', 2],
      ['child', 'starting', 0],
    ],
  );
  assert.deepEqual(body.config.refused?.errors, reload.body.error.errors);
  assert.equal(body.store.state, 'ok');
});

test('restarts a remote server on every worker, a child on its own, and names silent workers', async (t) => {
  const { ask, control, dir } = await bench(t, { hubs: 3 });
  const remote = control.state.servers[0]?.slug ?? '';
  const home = control.state.servers[1]?.homeHub ?? 0;
  const well = (path: string): [number, object] =>
    path.endsWith('/logs') ? [200, { server: 'x', lines: ['one', 'two'] }] : [202, { restarting: true }];
  const others = [1, 2, 3].filter((slot) => slot !== home);
  const asked = await fakeHub(t, dir, home, well);
  // One accepts connections and never responds, and one does not exist.
  const deaf = createSocketServer(() => {}).listen(join(dir, `hub-${others[0]}.sock`));
  t.after(() => deaf.close());
  const born = performance.now();
  const restart = await ask<RestartAnswer>('POST', `/api/servers/${encodeURIComponent('Über <b>')}/restart`);
  assert.ok(performance.now() - born < 1000);
  assert.equal(restart.status, 202);
  assert.deepEqual(restart.body.restarting, [home]);
  assert.deepEqual(
    restart.body.failed.map(({ hub }) => hub),
    others,
  );
  assert.ok(restart.body.failed.some(({ message }) => message.includes('within 200 ms')));
  assert.ok(restart.body.failed.some(({ message }) => message === 'is not running'));
  const logs = await ask<LogsAnswer>('GET', '/api/servers/child/logs');
  assert.deepEqual(logs.body, { server: 'child', hubs: [{ hub: home, lines: ['one', 'two'] }], failed: [] });
  assert.deepEqual(asked, [`POST /servers/${remote}/restart`, 'GET /servers/child/logs']);
});

test('passes on the message of a worker’s refusal', async (t) => {
  const { ask, dir } = await bench(t);
  await fakeHub(t, dir, 1, () => [400, { error: { code: 'server-disabled', message: 'The server is disabled.' } }]);
  const answer = await ask<Failed>('POST', '/api/servers/child/restart');
  assert.deepEqual([answer.status, answer.body.error.code], [503, 'server-down']);
  assert.match(answer.body.error.message, /worker 1: The server is disabled\./);
});

test('lists waits and containers of every process, and names those that do not respond', async (t) => {
  const { ask, dir, runtime } = await bench(t, { hubs: 2 });
  const row = { label: 'upstream-call', owner: 'r1', ageMs: 5, remainingMs: 10 };
  const ceiling = { name: 'x', size: 1, max: 2, peak: 1, rule: 'refuse', overflowed: 0 };
  await fakeHub(t, dir, 1, (path) =>
    path === '/api/waits' ? [200, { waits: [row] }] : [200, { ceilings: [ceiling] }],
  );
  const held = runtime.waits.open('background', 'test', runtime.deadline(5000));
  const waits = (await ask<WaitsAnswer>('GET', '/api/waits')).body;
  held.leave();
  assert.deepEqual(waits.processes[1], { process: 'hub-1', waits: [row] });
  assert.ok(waits.processes[0]?.waits.some(({ owner }) => owner === 'test'));
  assert.deepEqual(waits.silent, [{ hub: 2, message: 'is not running' }]);
  const ceilings = (await ask<CeilingsAnswer>('GET', '/api/ceilings')).body;
  assert.deepEqual(ceilings.processes[1]?.ceilings, [ceiling]);
  assert.ok(ceilings.processes[0]?.ceilings.some(({ name }) => name === 'store.requests'));
});

test('answers an endless body by the deadline, and stops without waiting for it', async (t) => {
  const { socketPath, admin, runtime } = await bench(t);
  const slow = connect(socketPath);
  slow.on('error', () => {});
  slow.write('POST /api/keys HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{');
  const [said] = (await once(slow, 'data')) as [Buffer];
  assert.match(said.toString(), /^HTTP\/1\.1 (408|400|503|500)/);
  const idle = connect(socketPath);
  idle.on('error', () => {});
  await once(idle, 'connect');
  const born = performance.now();
  await admin.stop(runtime.deadline(1000));
  assert.ok(performance.now() - born < 500);
});
