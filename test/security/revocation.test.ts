/**
 * A key that is revoked, expires or is narrowed loses everything that is open for it, on every worker.
 * Many revocations beside the calls of another key: `revocation-load.test.ts`.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { describe, test } from 'node:test';
import { CLI, cleanEnv, delay, environOf, type RunningHub, startHub, until } from '../support/hub.ts';
import { slowness } from '../support/load.ts';
import { openSession, rpc } from '../support/mcp.ts';
import { openAll, sentTimes } from '../support/open-access.ts';
import { allEnded, api, heldBy, startRevocable } from '../support/revocation.ts';
import { NEW_KEYS_ENV, SseClient } from '../support/sse-client.ts';

/** A key and what it has open; `more` = members of the request that makes it. */
async function opened(hub: RunningHub, workers: number, user: string, more: object = {}) {
  const made = await api(hub, 'POST', '/api/keys', { user, name: 'test', ...more });
  assert.equal(made.status, 201, JSON.stringify(made.json));
  const key: string = made.json.secret;
  return { key, id: made.json.key.id as string, things: await openAll(hub, key, workers) };
}

describe('without a revocation, a key', { timeout: 120_000 }, () => {
  // finding: SR-H3
  test('loses everything when it expires, and when its group loses a server', async () => {
    const { asking, hub } = await startRevocable(1);
    await using _hub = hub;
    await using _asking = { [Symbol.asyncDispose]: () => asking.close() };
    const expiresAtMs = Math.round(Date.now() + 4000 * (await slowness()));
    const { things } = await opened(hub, 1, 'guest', { expiresAtMs });
    const left = expiresAtMs - Date.now();
    assert.ok(left > 0, 'everything was open before the key expired');
    const dueMs = performance.now() + left;
    await until(() => performance.now() >= dueMs, left + 1000);
    await allEnded(things, dueMs);

    const config = JSON.parse(readFileSync(hub.configFile, 'utf8'));
    const inForce = async (servers: readonly string[]) => {
      writeFileSync(hub.configFile, JSON.stringify({ ...config, groups: [{ name: 'team', servers }] }));
      const { status, json } = await api(hub, 'POST', '/api/config/reload', {});
      assert.deepEqual([status, json.confirmed], [200, true], JSON.stringify(json));
    };
    await inForce(['clock', 'plain', 'asking']);
    const narrowed = await opened(hub, 1, 'colleague', { groups: ['team'] });
    const bornMs = performance.now();
    await inForce(['clock', 'asking']);
    const atMs = Date.now();
    await allEnded(narrowed.things, bornMs);
    for (const thing of narrowed.things)
      assert.deepEqual(
        sentTimes(thing).filter((sentMs) => sentMs > atMs),
        [],
      );
    // A session that comes back receives nothing more of a server that it may not see.
    const session = await openSession(`${hub.url}/mcp`, narrowed.key);
    const subscribed = await rpc(
      `${hub.url}/mcp`,
      'resources/subscribe',
      { uri: 'fault://clock' },
      { key: narrowed.key, session },
    );
    assert.ok(subscribed.json.result, subscribed.text);
    await inForce(['asking']);
    const client = new SseClient({ port: hub.port, key: narrowed.key });
    client.session = session;
    const again = await client.get().answered();
    await inForce(['asking', 'plain']);
    await delay(300);
    assert.deepEqual([again.status, again.received.includes('sentMs')], [200, false]);
    client.close();
    await inForce(['clock', 'asking']);
    const still = await rpc(`${hub.url}/mcp`, 'tools/list', {}, { key: narrowed.key });
    const names: string[] = still.json.result.tools.map(({ name }: { name: string }) => name);
    assert.ok(names.includes('clock_echo') && !names.some((name) => name.startsWith('plain_')));
  });
});

// finding: SR-H3, SR-A14
test('a request whose body arrives after its key was revoked is refused, and leaves no session', {
  timeout: 60_000,
}, async () => {
  await using hub = await startHub({ config: { mcpServers: {} }, env: NEW_KEYS_ENV });
  const made = await api(hub, 'POST', '/api/keys', { user: 'ann', name: 'slow' });
  const key: string = made.json.secret;
  const session = await openSession(`${hub.url}/mcp`, key);
  const body = '{"jsonrpc":"2.0","id":1,"method":"tools/list"}';
  const head = [
    'POST /mcp HTTP/1.1',
    'Host: 127.0.0.1',
    `Authorization: Bearer ${key}`,
    'Content-Type: application/json',
    'Accept: application/json, text/event-stream',
    `Mcp-Session-Id: ${session}`,
    `Content-Length: ${body.length}`,
    'Connection: close',
  ].join('\r\n');
  const socket = connect(hub.port, '127.0.0.1');
  let answer = '';
  socket.on('data', (chunk) => {
    answer += chunk.toString();
  });
  socket.write(`${head}\r\n\r\n${body.slice(0, 20)}`);
  await until(async () => (await heldBy(hub, 1, 'downstream.bodies')) === 1, 2000, 'half of the body');
  assert.equal((await api(hub, 'DELETE', `/api/keys/${made.json.key.id}`)).json.confirmed, true);
  socket.end(body.slice(20));
  await once(socket, 'close');
  assert.match(answer, /^HTTP\/1\.1 401 /);
  assert.match(answer, /key-revoked/);
  assert.equal(await heldBy(hub, 1, 'session.sessions'), 0);
});

describe('beside a stopped worker, `keys revoke`', { timeout: 120_000 }, () => {
  // finding: SR-H3
  test('answers in time and names the worker, which ends everything within a second of going on', async () => {
    const { asking, hub } = await startRevocable(2, { MCPHUB_CONFIRM_KEYS_MS: '700' });
    await using _hub = hub;
    await using _asking = { [Symbol.asyncDispose]: () => asking.close() };
    // Streams land on both workers.
    const { key, things } = await opened(hub, 2, 'ann');
    const pid = (hub.processes().hub ?? []).find((one) => environOf(one).MCPHUB_SLOT === '2') ?? 0;
    process.kill(pid, 'SIGSTOP');
    const bornMs = performance.now();
    let gone: Awaited<ReturnType<typeof revokeLocally>>;
    try {
      gone = await revokeLocally(hub, key);
    } finally {
      process.kill(pid, 'SIGCONT');
    }
    const goneMs = performance.now();
    const atMs = Date.now();
    const mostMs = 2000 * (await slowness());
    assert.ok(goneMs - bornMs < mostMs, `answered after ${Math.round(goneMs - bornMs)} ms`);
    assert.equal(gone.code, 7);
    assert.deepEqual(
      [gone.json.confirmed, gone.json.unconfirmed],
      [false, [{ hub: 2, message: `worker 2 (pid ${pid}) has not confirmed` }]],
    );
    await allEnded(things, goneMs);
    for (const thing of things)
      assert.deepEqual(
        sentTimes(thing).filter((sentMs) => sentMs > atMs),
        [],
        thing.kind,
      );
    const answers = await Promise.all(Array.from({ length: 6 }, () => rpc(`${hub.url}/mcp`, 'ping', {}, { key })));
    assert.deepEqual(
      answers.map(({ status }) => status),
      Array.from({ length: 6 }, () => 401),
    );
  });
});

/** The command of the operator, over the control process's own socket. */
async function revokeLocally(hub: RunningHub, key: string) {
  const words = ['keys', 'revoke', key.slice(0, 15), '--json', '--data-dir', hub.dataDir];
  const child = spawn(process.execPath, [CLI, ...words], { env: cleanEnv(), stdio: ['ignore', 'pipe', 'ignore'] });
  let text = '';
  child.stdout.on('data', (chunk: Buffer) => {
    text += chunk.toString();
  });
  const [code] = (await once(child, 'close')) as [number];
  return { code, json: JSON.parse(text) };
}
