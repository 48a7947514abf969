/** Servers that allow one session at a time, over crashes of workers and of the whole hub. */
// runs: about 60 s
import assert from 'node:assert/strict';
import { readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { mcphub } from '../support/cli.ts';
import { type RunningHub, startHub, tryKill, until } from '../support/hub.ts';
import { callTool } from '../support/mcp.ts';
import { ONE_SESSION, type SingleSessionServer, startSingleSessionServer } from '../support/single-session-server.ts';

const HEALED_MS = 20_000;

async function isCalled({ url, key }: RunningHub, server: string): Promise<boolean> {
  const { json } = await callTool(`${url}/mcp`, `${server}_echo`, {}, { key });
  return json?.result?.content?.[0]?.text === 'called';
}

/** Kills one worker, and waits until another runs in its place. */
async function killWorker(hub: RunningHub): Promise<void> {
  const before = hub.processes().hub ?? [];
  const [pid = -1] = before;
  tryKill(pid);
  await until(
    () => {
      const now = hub.processes().hub ?? [];
      return !now.includes(pid) && now.length === before.length;
    },
    HEALED_MS,
    'another worker',
  );
}

describe('a server that allows one session', { timeout: 170_000 }, () => {
  let hub: RunningHub;
  const servers: Record<string, SingleSessionServer> = {};
  const names = Object.keys(ONE_SESSION);
  before(async () => {
    for (const [name, form] of Object.entries(ONE_SESSION)) servers[name] = await startSingleSessionServer(form);
    hub = await startHub({ config: config() });
    for (const name of names) await until(() => isCalled(hub, name), HEALED_MS, name);
  });
  after(async () => {
    await hub?.[Symbol.asyncDispose]();
    for (const server of Object.values(servers)) await server[Symbol.asyncDispose]();
  });
  const config = (): object => ({
    mcpServers: Object.fromEntries(
      Object.entries(servers).map(([name, { url }]) => [
        name,
        { url, ...(name === 'bad' ? {} : { type: 'streamable-http' }) },
      ]),
    ),
  });

  // case: SV24
  test('is used again after its worker was killed', async () => {
    const before = names.map((name) => servers[name]?.session);
    await killWorker(hub);
    for (const name of names) await until(() => isCalled(hub, name), HEALED_MS, name);
    for (const [at, name] of names.entries()) assert.ok(servers[name]?.seen.includes(`DELETE ${before[at]}`), name);
  });

  // case: SV24
  test('is used again after the whole hub was killed, and its session id is shown nowhere', async () => {
    const before = names.map((name) => String(servers[name]?.session));
    const dir = join(hub.dataDir, 'sessions');
    assert.equal(statSync(dir).mode & 0o777, 0o700);
    const files = readdirSync(dir);
    assert.equal(files.length, names.length, 'a file for each');
    for (const file of files) assert.equal(statSync(join(dir, file)).mode & 0o777, 0o600);
    const shown = [
      hub.log,
      (await mcphub(['servers', 'list', '--json', '--data-dir', hub.dataDir])).stdout,
      (await mcphub(['status', '--json', '--data-dir', hub.dataDir])).stdout,
    ];
    for (const id of before) assert.ok(shown.every((text) => !text.includes(id)));
    for (const pid of [hub.pid, ...Object.values(hub.processes()).flat()]) tryKill(pid);
    await hub.exited;
    const { dataDir, key } = hub;
    hub = await startHub({ config: config(), dataDir, key });
    for (const name of names) await until(() => isCalled(hub, name), HEALED_MS, name);
    for (const [at, name] of names.entries()) assert.ok(servers[name]?.seen.includes(`DELETE ${before[at]}`), name);
  });

  // case: SV24
  test('keeps nothing on disk after a clean stop', async () => {
    await hub.stop();
    assert.deepEqual(readdirSync(join(hub.dataDir, 'sessions')), []);
    for (const name of names) assert.equal(servers[name]?.session, undefined, name);
  });
});

describe('a server that allows one session, with two workers', { timeout: 170_000 }, () => {
  let hub: RunningHub;
  let server: SingleSessionServer;
  before(async () => {
    server = await startSingleSessionServer();
    hub = await startHub({
      config: { mcpServers: { one: { type: 'streamable-http', url: server.url } } },
      args: ['--workers', '2'],
    });
  });
  after(async () => {
    await hub?.[Symbol.asyncDispose]();
    await server?.[Symbol.asyncDispose]();
  });
  /** Calls in a row, each on a connection of its own, so that both workers get some. */
  async function failed(calls: number): Promise<number> {
    let count = 0;
    for (let at = 0; at < calls; at += 1) if (!(await isCalled(hub, 'one'))) count += 1;
    return count;
  }
  const heals = () => until(async () => (await failed(8)) === 0, HEALED_MS, 'all calls answered');

  // case: SV24
  test('is reached through the worker that holds the session', async () => {
    const notes = async (): Promise<readonly string[]> => {
      const { stdout } = await mcphub(['servers', 'list', '--json', '--data-dir', hub.dataDir]);
      const [row] = JSON.parse(stdout).servers;
      return row.hubs.map(({ notes }: { notes?: string[] }) => notes?.join() ?? '');
    };
    const isShared = async () =>
      (await notes()).filter((note) => note.includes('refuses a second session')).length === 1;
    await until(isShared, HEALED_MS, 'one worker that forwards');
    assert.equal(await failed(40), 0);
  });

  // case: SV24
  test('is reached by both workers again after either was killed', async () => {
    for (let round = 0; round < 2; round += 1) {
      await killWorker(hub);
      await heals();
      assert.equal(await failed(20), 0);
    }
  });

  // case: SV24
  test('is reached by every worker while they are replaced, and after', async () => {
    const before = hub.processes().hub ?? [];
    hub.child.kill('SIGUSR2');
    const isReplaced = () => (hub.processes().hub ?? []).every((pid) => !before.includes(pid));
    const over = until(isReplaced, 60_000, 'all workers replaced');
    let sinceMs = performance.now();
    let longestMs = 0;
    while (!isReplaced()) {
      const nowMs = performance.now();
      if (await isCalled(hub, 'one')) sinceMs = nowMs;
      longestMs = Math.max(longestMs, nowMs - sinceMs);
    }
    await over;
    await heals();
    assert.equal(await failed(20), 0);
    assert.ok(longestMs < 2000, `no call was answered for ${Math.round(longestMs)} ms`);
  });

  // case: SV24
  test('keeps its session until the calls in it are answered when its settings change', async () => {
    const called = () => server.seen.filter((one) => one === 'tools/call').length;
    for (let round = 0; round < 2; round += 1) {
      await heals();
      const before = called();
      server.callMs = 4000;
      const slow = callTool(`${hub.url}/mcp`, 'one_echo', {}, { key: hub.key });
      await until(() => called() > before, HEALED_MS, 'the call has come');
      server.callMs = 0;
      const entry = { type: 'streamable-http', url: server.url, ...(round === 0 ? { getStream: false } : {}) };
      writeFileSync(hub.configFile, JSON.stringify({ mcpServers: { one: entry } }));
      hub.child.kill('SIGHUP');
      const { json } = await slow;
      assert.equal(json?.result?.content?.[0]?.text, 'called', JSON.stringify(json));
    }
    await heals();
  });

  // case: SV24
  test('is reached by both workers again after it was restarted', async () => {
    server.restart();
    await heals();
    assert.equal(await failed(20), 0);
  });

  // case: SV24
  test('never gets the session id of an earlier entry with other credentials', async () => {
    const before = server.session;
    for (const pid of [hub.pid, ...Object.values(hub.processes()).flat()]) tryKill(pid);
    await hub.exited;
    const { dataDir, key } = hub;
    // With the last snapshot the worker would begin with the entry as it was, and end its session as it should.
    for (const file of readdirSync(dataDir)) if (file.endsWith('.snapshot.json')) rmSync(join(dataDir, file));
    const headers = { Authorization: 'Bearer another' };
    const mcpServers = { one: { type: 'streamable-http', url: server.url, headers } };
    hub = await startHub({ config: { mcpServers }, dataDir, key });
    await until(() => hub.log.includes('already initialized'), HEALED_MS, 'a refusal');
    assert.ok(
      !server.shown.some(({ session, authorization }) => session === before && authorization === 'Bearer another'),
    );
    const { stdout } = await mcphub(['servers', 'list', '--data-dir', hub.dataDir]);
    assert.match(stdout, /may hold a session of an earlier start/);
    server.restart();
    await until(() => isCalled(hub, 'one'), 65_000, 'healed with the server');
  });
});

describe('a server that allows one session and answers initialize too late', { timeout: 120_000 }, () => {
  const ENV = { MCPHUB_HANDSHAKE_MS: '1000' };

  // case: SV24
  test('is told to end the session that nobody waited for, and is used when it is quick again', async () => {
    await using server = await startSingleSessionServer();
    server.initializeMs = 1500;
    await using hub = await startHub({ config: { mcpServers: { one: { url: server.url } } }, env: ENV });
    await until(() => server.seen.some((one) => one.startsWith('DELETE ')), HEALED_MS, 'DELETE of the late session');
    server.initializeMs = 0;
    await until(() => isCalled(hub, 'one'), HEALED_MS, 'healed');
  });

  // case: SV24
  test('keeps the session in use when the late answer has the same id', async () => {
    await using server = await startSingleSessionServer();
    server.fixedId = 'the-only-one';
    server.initializeMs = 3000;
    await using hub = await startHub({
      ...{ config: { mcpServers: { one: { url: server.url } } }, env: ENV, noWait: true },
    });
    await until(() => server.seen.length > 0, HEALED_MS, 'the first initialize');
    server.initializeMs = 0;
    await until(() => isCalled(hub, 'one'), HEALED_MS, 'healed');
    server.callMs = 5000;
    assert.ok(await isCalled(hub, 'one'), 'a call that ran when the late answer came');
    assert.deepEqual(
      server.seen.filter((one) => one.startsWith('DELETE ')),
      [],
    );
  });

  // case: SV24
  test('is tried on when its answer never comes, says why, and is used after its restart', async () => {
    await using server = await startSingleSessionServer();
    server.initializeMs = 1_000_000;
    await using hub = await startHub({ config: { mcpServers: { one: { url: server.url } } }, env: ENV });
    const list = async () => (await mcphub(['servers', 'list', '--data-dir', hub.dataDir])).stdout;
    await until(async () => /may hold a session of an earlier start/.test(await list()), HEALED_MS, 'the cause');
    server.initializeMs = 0;
    server.restart();
    await until(() => isCalled(hub, 'one'), 65_000, 'healed with the server');
  });
});
