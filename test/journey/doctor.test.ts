/**
 * `mcphub doctor` at the bed of hubs that are sick in different ways: the first sentence names the sickness, whatever
 * the patient does.
 */
// runs: alone
// covers: P10
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { run } from '../support/cli.ts';
import { CLI, delay, type RunningHub, startHub, tryKill, until } from '../support/hub.ts';
import { Client, isResult, stdioServer } from '../support/load.ts';

const HOOKS = { NODE_ENV: 'test', MCPHUB_FAULT_HOOKS: '1' };
/** It asks nobody for longer than a second. */
const MOST_MS = 8000;

async function doctor(
  dataDir: string,
  ...more: string[]
): Promise<{ code: number | null; says: string; stdout: string }> {
  const bornMs = performance.now();
  const { code, stdout } = await run(process.execPath, [CLI, 'doctor', '--data-dir', dataDir, ...more]);
  assert.ok(performance.now() - bornMs < MOST_MS);
  return { code, says: stdout.split('\n')[0] ?? '', stdout };
}

async function ready(hub: RunningHub): Promise<void> {
  const client = new Client(hub);
  await until(async () => isResult(await client.call('one_echo', { text: 'up' })), 60_000, 'one');
  client.close();
}

test('the doctor finds nothing where all is well, and names each sickness', { timeout: 150_000 }, async () => {
  // The doctor comes before the supervisor ends the patient.
  const env = { ...HOOKS, MCPHUB_BEAT_MS: '8000' };
  await using hub = await startHub({ config: { mcpServers: { one: stdioServer() } }, env });
  await ready(hub);
  const well = await doctor(hub.dataDir);
  assert.equal(well.code, 0);
  assert.equal(well.says, 'No problem found: all processes respond.');
  assert.match(well.stdout, /hub-1: ok, 1 of 1 servers ready/);
  const [pid = 0] = hub.processes().hub ?? [];
  const json = JSON.parse((await doctor(hub.dataDir, '--json')).stdout);
  assert.deepEqual(
    [json.healthy, json.processes.map((one: { role: string }) => one.role).sort()],
    [true, ['control', 'guard', 'hub-1']],
  );

  tryKill(pid, 'SIGSTOP');
  const stopped = await doctor(hub.dataDir);
  assert.equal(stopped.code, 1);
  assert.equal(stopped.says, `hub-1 (pid ${pid}) is stopped (SIGSTOP or a debugger).`);
  assert.match(stopped.stdout, new RegExp(`kill -CONT ${pid}`));
  await until(() => (hub.processes().hub ?? []).every((one) => one !== pid), 20_000, 'the next hub');
  await ready(hub);

  const [next = 0] = hub.processes().hub ?? [];
  await delay(1500);
  tryKill(next, 'SIGUSR2');
  await delay(1200);
  const stalled = await doctor(hub.dataDir);
  assert.match(stalled.says, /hub-1 \(pid \d+\) does not answer and uses \d+ % CPU: its event loop is blocked/);
  await until(() => (hub.processes().hub ?? []).every((one) => one !== next), 20_000, 'the next hub');
  await ready(hub);

  const [control = 0] = hub.processes().control ?? [];
  tryKill(control, 'SIGSTOP');
  assert.match((await doctor(String(hub.dataDir), String(hub.pid))).says, /^control \(pid \d+\) is stopped/);
  tryKill(control, 'SIGCONT');

  tryKill(hub.pid, 'SIGSTOP');
  const guard = await doctor(hub.dataDir, '--report');
  tryKill(hub.pid, 'SIGCONT');
  assert.equal(guard.code, 1);
  const report = readFileSync(guard.says, 'utf8');
  assert.match(report, /^guard \(pid \d+\) is stopped/);
  assert.equal(statSync(guard.says).mode & 0o777, 0o600);
  assert.ok(!report.includes(hub.key));
});

test('where no hub runs the doctor says so, and what ended the last', async () => {
  const dataDir = mkdtempSync(join(tmpdir(), 'mcphub-doctor-'));
  try {
    const { code, says } = await doctor(dataDir);
    assert.equal(code, 1);
    assert.equal(says, `No hub runs on the data directory ${dataDir}.`);
    const other = await doctor(dataDir, String(process.pid));
    assert.match(other.says, new RegExp(`^pid ${process.pid} .* is not a process of a hub`));
    assert.equal((await doctor(dataDir, 'x')).code, 2);
  } finally {
    rmSync(dataDir, { recursive: true, force: true });
  }
});

test('what does not belong to the hub is named: a port, a directory, a pid, a report that cannot be written', {
  timeout: 60_000,
}, async () => {
  const dataDir = mkdtempSync(join(tmpdir(), 'mcphub-doctor-'));
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  try {
    const env = { PORT: String(port) };
    const taken = await run(process.execPath, [CLI, 'doctor', '--data-dir', dataDir], { env });
    assert.match(taken.stdout, new RegExp(`^Port ${port} is in use by \\S+ \\(pid ${process.pid}\\)`, 'm'));
    assert.match((await doctor(join(dataDir, 'none'))).stdout, /The directory does not exist/);
    writeFileSync(join(dataDir, 'evidence'), 'a file in the way');
    const report = await run(process.execPath, [CLI, 'doctor', '--data-dir', dataDir, '--report']);
    assert.equal(report.code, 1);
    assert.match(report.stderr, /cannot be written to .*evidence/);
    assert.doesNotMatch(report.stderr, /\n\s+at /);
    if (process.getuid?.() === 0) {
      chmodSync(dataDir, 0o700);
      const stranger = await run('setpriv', [
        ...['--reuid', '65534', '--clear-groups', process.execPath, CLI, 'doctor', '--data-dir', dataDir],
      ]);
      assert.match(stranger.stdout, /belongs to another user/);
    }
  } finally {
    server.close();
    rmSync(dataDir, { recursive: true, force: true });
  }
});

test('a report masks what servers say, and the page tells of crash loops and of what went wrong since the start', {
  timeout: 60_000,
}, async () => {
  const secret = `mcphub_${randomBytes(32).toString('hex')}`;
  const says = `console.error('https://ann:pw1@host/x?token=t0ken key ${secret} password: hunter2'); process.exit(3)`;
  const config = { mcpServers: { one: stdioServer(), loop: { command: process.execPath, args: ['-e', says] } } };
  await using hub = await startHub({ config });
  await ready(hub);
  await until(async () => /loop is not ready/.test((await doctor(hub.dataDir)).stdout), 20_000, 'the loop');
  const page = await doctor(hub.dataDir);
  assert.equal(page.code, 0);
  assert.match(page.stdout, /since start: .*lost server connections/);
  const report = readFileSync((await doctor(hub.dataDir, '--report')).says, 'utf8');
  for (const word of [secret, 'ann:pw1', 't0ken', 'hunter2']) assert.ok(!report.includes(word), word);
});
