/**
 * SR-C1, SR-H4, SR-L2, SR-L11: what the processes of a hub may ask of each other, and in whose name.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { get } from 'node:http';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import type { KeyMade, KeysAnswer } from '../../src/admin/contract.ts';
import { mcphub } from '../support/cli.ts';
import { environOf, type RunningHub, startHub, statusOf, tryKill, until } from '../support/hub.ts';
import { askOperator, requestUnixSocket } from '../support/operator.ts';

let hub: RunningHub;
before(async () => {
  hub = await startHub({
    config: { mcpServers: {}, groups: { open: { servers: '*', access: 'anonymous' } } },
    env: {
      ...{ MCPHUB_WORKERS: '2', MCPHUB_ADMIN_REQUESTS: '4', MCPHUB_ADMIN_REQUESTS_PER_KEY: '2' },
      // The control process stands still in two tests and shall neither be replaced nor given up meanwhile.
      ...{ MCPHUB_BEAT_MS: '12000', MCPHUB_FORWARD_MS: '12000' },
    },
  });
});
after(async () => {
  await hub[Symbol.asyncDispose]();
});

/** Status of the owner's API through the port; a connection of its own, so that any worker may get it. */
async function apiStatus(key = hub.key, path = '/api/keys'): Promise<number> {
  return statusOf(`${hub.url}${path}`, { authorization: `Bearer ${key}`, connection: 'close' });
}

/** Every worker serves the API: as many requests in a row as make it sure that each got some. */
async function everyWorkerServes(): Promise<boolean> {
  for (let n = 0; n < 6; n += 1) if ((await apiStatus()) !== 200) return false;
  return true;
}

// finding: SR-C1
test('a request without the token has no right on the workers’ socket', async () => {
  const headers = { 'x-mcphub-role': 'owner', 'x-mcphub-key-id': 'k_1' };
  for (const more of [{}, headers, { ...headers, 'x-mcphub-worker': 'f'.repeat(64) }]) {
    for (const [method, path] of [
      ['GET', '/api/status'],
      ['POST', '/api/keys'],
      ['DELETE', '/api/keys/k_1'],
      ['GET', '/'],
      ['GET', '/beat'],
    ] as const) {
      const { status } = await requestUnixSocket(hub, 'workers.sock', { method, path, headers: more });
      assert.equal(status, 401, `${method} ${path} ${JSON.stringify(more)}`);
    }
  }
});

test('the token of workers stands in no environment, argument or file', () => {
  const pids = Object.values(hub.processes()).flat();
  assert.ok(pids.length >= 3);
  for (const pid of [hub.pid, ...pids]) {
    const named = Object.entries(environOf(pid)).filter(([name]) => name !== 'MCPHUB_BOOTSTRAP_KEY');
    const words = [...named.map(([, value]) => value), readFileSync(`/proc/${pid}/cmdline`, 'latin1')];
    assert.ok(!words.some((word) => /(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])/.test(word)), `process ${pid}`);
  }
  // A hash of the key and the sealing secret are kept; nothing is named for a worker.
  const files = readdirSync(hub.dataDir, { recursive: true }).map(String);
  assert.deepEqual(
    files.filter((name) => /token|worker/i.test(name)),
    [join('run', 'workers.sock')],
  );
});

test('the API works through every worker after each of them was replaced', async () => {
  const old = hub.processes().hub ?? [];
  process.kill(hub.pid, 'SIGUSR2');
  await until(() => hub.lines.some(({ event }) => event === 'rolling-ended'), 60_000, 'the end of the replacement');
  assert.ok((hub.processes().hub ?? []).some((pid) => !old.includes(pid)));
  assert.ok(await everyWorkerServes());
});

test('after a crash of the control process the API works again, and / never stopped', async () => {
  const [control] = hub.processes().control ?? [];
  assert.ok(control !== undefined);
  tryKill(control);
  let pages = 0;
  await until(
    async () => {
      assert.equal(await statusOf(`${hub.url}/`), 200);
      pages += 1;
      const status = await apiStatus();
      assert.ok(status === 200 || status === 503, `the API answers ${status}`);
      return status === 200;
    },
    30_000,
    'the API',
  );
  assert.ok(pages > 0 && (await everyWorkerServes()));
});

// finding: SR-L1, SR-L11
test('while the control process stands still, / answers, and no wait, heartbeat or log line shows a key', async () => {
  const [control] = hub.processes().control ?? [];
  assert.ok(control !== undefined);
  process.kill(control, 'SIGSTOP');
  try {
    const asked = [`/api/status?key=${hub.key}`, `/api/keys/${hub.key}?x=1`].map((path) => apiStatus(hub.key, path));
    const waits = async (): Promise<string> => {
      const seen = [1, 2].map((slot) =>
        requestUnixSocket(hub, `hub-${slot}.sock`, { method: 'GET', path: '/api/waits' }),
      );
      return JSON.stringify((await Promise.all(seen)).map(({ body }) => body));
    };
    await until(async () => (await waits()).split('control-forward').length === 3, 2000, 'two waits');
    const digits = hub.key.slice('mcphub_'.length, 'mcphub_'.length + 8);
    assert.ok(!(await waits()).includes(digits));
    // A heartbeat is what a crash report keeps: the waits and the last events.
    const beats = await Promise.all([1, 2].map(async (slot) => await firstHeartbeat(`hub-${slot}.sock`)));
    assert.match(beats.join(), /control-forward/);
    assert.ok(!beats.join().includes(digits), beats.join());
    // The first eight digits name a key in the log; the others are secret.
    assert.ok(!hub.log.includes(hub.key.slice('mcphub_'.length + 8, 'mcphub_'.length + 16)));
    const pages = await Promise.all(Array.from({ length: 64 }, () => statusOf(`${hub.url}/`)));
    assert.ok(pages.every((status) => status === 200));
    process.kill(control, 'SIGCONT');
    assert.deepEqual(await Promise.all(asked), [200, 405]);
  } finally {
    tryKill(control, 'SIGCONT');
  }
});

function firstHeartbeat(socket: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const sent = get({ socketPath: join(hub.dataDir, 'run', socket), path: '/beat', agent: false, timeout: 5000 });
    sent.on('error', reject).on('timeout', () => sent.destroy(new Error(`no heartbeat from ${socket}`)));
    sent.on('response', (answer) => {
      answer.once('data', (line) => {
        resolve(String(line));
        sent.destroy();
      });
    });
  });
}

// finding: SR-L11
test('an owner who fills its places leaves places to the other owners', async () => {
  const made = await askOperator<KeyMade>(hub, 'POST', '/api/keys', { user: 'bob', name: 'b', role: 'owner' });
  await until(async () => (await apiStatus(made.secret)) === 200, 5000, 'the key on the worker');
  const [control] = hub.processes().control ?? [];
  assert.ok(control !== undefined);
  process.kill(control, 'SIGSTOP');
  try {
    const greedy = Array.from({ length: 8 }, () => apiStatus());
    await until(async () => (await apiStatus()) === 429, 2000, 'the refusal of the greedy owner');
    const other = apiStatus(made.secret);
    process.kill(control, 'SIGCONT');
    assert.equal(await other, 200);
    const seen = new Set(await Promise.all(greedy));
    assert.ok(seen.has(429) && seen.has(200), [...seen].join());
  } finally {
    tryKill(control, 'SIGCONT');
  }
});

// finding: SR-M7
test('another worker knows whether a client without a key is local, and believes no client that says so', async () => {
  const headers = { 'content-type': 'application/json', accept: 'application/json, text/event-stream' };
  const initialize = {
    method: 'initialize',
    params: { protocolVersion: '2025-06-18', capabilities: {}, clientInfo: { name: 'x', version: '1' } },
  };
  const body = JSON.stringify({ jsonrpc: '2.0', id: 1, ...initialize });
  for (let round = 0; round < 4; round += 1) {
    const met = await fetch(`${hub.url}/mcp/open`, { method: 'POST', headers, body });
    assert.equal(met.status, 200, await met.text());
    const session = met.headers.get('mcp-session-id') ?? '';
    // Connections of their own: half of them meet the worker that does not own the session's stream.
    for (let stream = 0; stream < 3; stream += 1)
      assert.equal(await openedStream({ 'mcp-session-id': session }), 200, `stream ${stream} of session ${round}`);
    const claims = { 'x-mcphub-client-address': '127.0.0.1', 'x-mcphub-worker': 'guessed', 'x-mcphub-hop': '1' };
    for (const more of [{ via: '1.1 x' }, { 'x-forwarded-for': '10.0.0.1' }])
      assert.equal(await openedStream({ 'mcp-session-id': session, ...claims, ...more }), 401);
    for (const slot of [1, 2]) {
      const asked = { method: 'GET', path: '/mcp/open', headers: { 'mcp-session-id': session, ...claims } };
      assert.equal((await requestUnixSocket(hub, `front-${slot}.sock`, asked)).status, 401);
    }
  }
});

/** Status of a GET stream of the open group on a connection of its own. */
async function openedStream(headers: Readonly<Record<string, string>>): Promise<number> {
  const off = new AbortController();
  const all = { accept: 'text/event-stream', connection: 'close', ...headers };
  const answer = await fetch(`${hub.url}/mcp/open`, { headers: all, signal: off.signal });
  off.abort();
  return answer.status;
}

// finding: SR-L2
test('an owner key cannot be limited to groups, by the command or the API', async () => {
  const args = ['keys', 'create', '--user', 'a', '--name', 'b', '--role', 'owner', '--group', 'x'];
  const { code, stderr } = await mcphub([...args, '--data-dir', hub.dataDir]);
  assert.equal(code, 2);
  assert.match(stderr, /--role owner cannot be combined with --group/);
  const answer = await fetch(`${hub.url}/api/keys`, {
    method: 'POST',
    headers: { authorization: `Bearer ${hub.key}`, 'content-type': 'application/json' },
    body: JSON.stringify({ user: 'a', name: 'b', role: 'owner', groups: ['x'] }),
  });
  assert.equal(answer.status, 400);
  assert.match(await answer.text(), /cannot be limited to groups/);
});

// finding: SR-H4
test('a program of the same user can act as the operator and read its secrets (known limit, documented in docs/security.md)', async () => {
  const script = `
    const { readFileSync } = require('node:fs');
    const { request } = require('node:http');
    const [, data, worker] = process.argv;
    for (const path of [\`\${data}/secret\`, \`\${data}/hub-1.snapshot.json\`, \`/proc/\${worker}/environ\`])
      console.log(readFileSync(path).length > 0);
    const body = JSON.stringify({ user: 'child', name: 'x', role: 'owner' });
    const sent = request({ socketPath: data + '/run/control.sock', method: 'POST', path: '/api/keys', headers: { 'content-length': body.length } });
    sent.on('response', (answer) => { console.log(answer.statusCode); answer.resume(); });
    sent.end(body);`;
  const [worker] = hub.processes().hub ?? [];
  const child = spawn(process.execPath, ['-e', script, hub.dataDir, String(worker)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let said = '';
  for await (const chunk of child.stdout) said += chunk;
  assert.deepEqual(said.trim().split('\n'), ['true', 'true', 'true', '201']);
  const { keys } = await askOperator<KeysAnswer>(hub, 'GET', '/api/keys');
  assert.ok(keys.some(({ user, role }) => user === 'child' && role === 'owner'));
  const page = readFileSync(join(import.meta.dirname, '../../docs/security.md'), 'utf8');
  assert.match(page, /## Servers that the hub starts/);
});
