/**
 * The end of a hub: what is running is answered, everything is gone in time, nothing is left behind.
 */
// runs: about 40 s
// covers: A7, P9
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { runDirFor } from '../../src/config/paths.ts';
import { REPEAT_MS } from '../../src/runtime/stop-requests.ts';
import {
  CLI,
  cleanEnv,
  delay,
  freePort,
  isAlive,
  markedProcesses,
  ROOT,
  type RunningHub,
  startHub,
  statusOf,
  tryKill,
  until,
} from '../support/hub.ts';
import { Client, isResult, slowness, stdioServer } from '../support/load.ts';

/** Of the acceptance. The child that ignores SIGTERM needs its own grace on top of the running call. */
const ALL_GONE_MS = 10_000;
const IDLE_MS = 1500 * 2 + 20;
const CONFIG = { mcpServers: { one: stdioServer(), deaf: stdioServer('ignores-sigterm'), far: stdioServer('setsid') } };

function assertNothingLeft(hub: RunningHub): void {
  assert.deepEqual(hub.descendants(), []);
  assert.equal(existsSync(join(hub.dataDir, 'lock')), false, 'the lock is gone');
  const runDir = runDirFor(hub.dataDir);
  const sockets = existsSync(runDir) ? readdirSync(runDir).filter((name) => name.endsWith('.sock')) : [];
  assert.deepEqual(sockets, []);
}

async function allReady(hub: RunningHub): Promise<void> {
  const client = new Client(hub);
  for (const name of ['one_echo', 'deaf_echo', 'far_echo'])
    await until(async () => isResult(await client.call(name)), 60_000, name);
  client.close();
}

describe('SIGTERM', { timeout: 280_000, concurrency: 2 }, () => {
  for (const hubs of ['1', '2'])
    test(`with streams, a running call and a deaf child, ${hubs} hub(s)`, async () => {
      await using hub = await startHub({ config: CONFIG, args: ['--workers', hubs] });
      await allReady(hub);
      const clients = Array.from({ length: 5 }, () => new Client(hub));
      for (const client of clients) {
        await client.open();
        assert.equal(await client.listen(), 200);
      }
      const caller = new Client(hub);
      const running = caller.call('one_sleep', { ms: 3000 });
      await delay(300);
      const bornMs = performance.now();
      const code = hub.stop();
      const answer = await running;
      assert.ok(
        isResult(answer) && answer.text.includes('slept 3000'),
        `${answer.status} ${answer.fault} ${answer.text}`,
      );
      assert.equal(await code, 0);
      const tookMs = performance.now() - bornMs;
      assert.ok(tookMs <= ALL_GONE_MS * (await slowness()), `${Math.round(tookMs)} ms`);
      assertNothingLeft(hub);
      await until(() => clients.every((client) => client.ended === 1), 2000, 'the end of the streams');
      for (const client of [...clients, caller]) client.close();
      assert.equal(await statusOf(`${hub.url}/health`), 0, 'the port is free');
    });

  test('an idle hub ends at once', async () => {
    await using hub = await startHub({ config: { mcpServers: { one: stdioServer() } } });
    const client = new Client(hub);
    await until(async () => isResult(await client.call('one_echo')), 60_000, 'one');
    // A look-up of the login shell's PATH, which only a young hub has.
    await delay(3000);
    const bornMs = performance.now();
    assert.equal(await hub.stop(), 0);
    const tookMs = performance.now() - bornMs;
    assert.ok(tookMs <= IDLE_MS * (await slowness()), `${Math.round(tookMs)} ms`);
    client.close();
    assertNothingLeft(hub);
  });

  test('a second one ends everything at once, the running call too', async () => {
    await using hub = await startHub({ config: CONFIG });
    await allReady(hub);
    const client = new Client(hub);
    const running = client.call('one_sleep', { ms: 20_000 }, 30_000);
    await delay(300);
    hub.child.kill('SIGTERM');
    await until(() => hub.log.includes('drain-started'), 10_000, 'the first one is handled');
    // Sooner it would count as a repetition of the first.
    await delay(REPEAT_MS + 200);
    const bornMs = performance.now();
    hub.child.kill('SIGTERM');
    assert.equal(await hub.exited, 1);
    const tookMs = performance.now() - bornMs;
    assert.ok(tookMs <= (2000 * 2 + 20) * (await slowness()), `${Math.round(tookMs)} ms`);
    assert.equal((await running).status, 0);
    client.close();
    assertNothingLeft(hub);
  });
});

test('a hub whose loop stands still is ended all the same', { timeout: 120_000 }, async () => {
  await using hub = await startHub({ config: CONFIG, env: { NODE_ENV: 'test', MCPHUB_FAULT_HOOKS: '1' } });
  await allReady(hub);
  for (const pid of hub.processes().hub ?? []) tryKill(pid, 'SIGUSR2');
  await delay(200);
  const bornMs = performance.now();
  assert.equal(await hub.stop(), 0);
  const tookMs = performance.now() - bornMs;
  assert.ok(tookMs <= ALL_GONE_MS * (await slowness()), `${Math.round(tookMs)} ms`);
  assertNothingLeft(hub);
});

test('SIGINT from the keyboard of a terminal reaches every process at once, and the running call is answered', {
  timeout: 60_000,
}, async () => {
  const dataDir = mkdtempSync(join(tmpdir(), 'mcphub-test-'));
  const config = join(dataDir, 'mcp_settings.json');
  writeFileSync(config, JSON.stringify({ mcpServers: { one: stdioServer() } }));
  const port = await freePort();
  const key = `mcphub_${randomBytes(32).toString('hex')}`;
  // python's pty gives a controlling terminal; the letter ^C written to it becomes SIGINT for the whole foreground
  // group.
  const script = [
    'import os, pty, select, sys, threading',
    'pid, fd = pty.fork()',
    'if pid == 0: os.execv(sys.argv[1], sys.argv[1:])',
    'threading.Thread(target=lambda: [os.write(fd, c) for c in iter(lambda: os.read(0, 1), b"")], daemon=True).start()',
    'try:',
    '  while os.read(fd, 65536): pass',
    'except OSError: pass',
    'sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) & 255)',
  ].join('\n');
  const args = [
    '-c',
    script,
    process.execPath,
    CLI,
    'start',
    '--config',
    config,
    '--data-dir',
    dataDir,
    '--port',
    String(port),
  ];
  const terminal = spawn('python3', args, {
    cwd: ROOT,
    stdio: ['pipe', 'ignore', 'inherit'],
    env: { ...cleanEnv(), MCPHUB_BOOTSTRAP_KEY: key },
  });
  const exited = new Promise<number | null>((done) => terminal.once('exit', (code) => done(code)));
  try {
    await until(async () => (await statusOf(`http://127.0.0.1:${port}/health`)) === 200, 60_000, 'health');
    const client = new Client({ port, key });
    await until(async () => isResult(await client.call('one_echo')), 60_000, 'one');
    const running = client.call('one_sleep', { ms: 1500 });
    await delay(200);
    const left = markedProcesses(dataDir, -1);
    assert.ok(left.length >= 2, `${left}`);
    terminal.stdin.write('\x03');
    assert.ok(isResult(await running), JSON.stringify(await running));
    assert.equal(await exited, 0);
    client.close();
    assert.deepEqual(left.filter(isAlive), []);
    assert.equal(existsSync(join(dataDir, 'lock')), false);
  } finally {
    for (const pid of markedProcesses(dataDir, -1)) tryKill(pid);
    terminal.kill('SIGKILL');
    rmSync(dataDir, { recursive: true, force: true });
  }
});
