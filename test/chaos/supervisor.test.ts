/**
 * The supervisor towards the system: systemd, a container whose first process it is, and what a start tells of an
 * earlier death.
 */
// runs: about 60 s
// covers: P9, P10
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { CLI, cleanEnv, delay, freePort, isAlive, ROOT, startHub, statusOf, tryKill, until } from '../support/hub.ts';
import { Client, isResult, stdioServer } from '../support/load.ts';
import { measured } from '../support/measured.ts';

const CONFIG = { mcpServers: { one: stdioServer() } };

/** What systemd would hear: a stand-in for `systemd-notify` on PATH that writes its words down. */
function standIn(): { dir: string; said: () => string[] } {
  const dir = mkdtempSync(join(tmpdir(), 'mcphub-notify-'));
  const program = join(dir, 'systemd-notify');
  writeFileSync(program, `#!/bin/sh\necho "$@" >> ${join(dir, 'said')}\n`);
  chmodSync(program, 0o755);
  writeFileSync(join(dir, 'said'), '');
  return { dir, said: () => readFileSync(join(dir, 'said'), 'utf8').split('\n').filter(Boolean) };
}

test('systemd hears that it is ready, alive each half of its patience, and stopping', async () => {
  const { dir, said } = standIn();
  try {
    await using hub = await startHub({
      config: CONFIG,
      env: { NOTIFY_SOCKET: '/nowhere', WATCHDOG_USEC: '4000000', PATH: `${dir}:${process.env.PATH}` },
    });
    await until(() => said().filter((words) => words === 'WATCHDOG=1').length >= 2, 10_000, 'two signs of life');
    assert.match(said().find((words) => words.startsWith('--ready')) ?? '', /--status=serving on port \d+/);
    assert.equal(await hub.stop(), 0);
    await until(() => said().includes('STOPPING=1'), 2000, 'the farewell');
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
});

test('a systemd-notify that is missing or hangs holds nobody', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'mcphub-notify-'));
  const program = join(dir, 'systemd-notify');
  writeFileSync(program, '#!/bin/sh\nexec sleep 300\n');
  chmodSync(program, 0o755);
  try {
    await using hub = await startHub({
      config: CONFIG,
      env: { NOTIFY_SOCKET: '/nowhere', WATCHDOG_USEC: '2000000', PATH: `${dir}:${process.env.PATH}` },
    });
    await delay(3500);
    assert.equal(await statusOf(`${hub.url}/health`), 200);
    assert.equal(await hub.stop(), 0);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
});

// row F10 · guards src/supervisor/liveness-policy.ts
test('a machine that slept: no process is killed', { timeout: 120_000 }, async () => {
  await using hub = await startHub({ config: CONFIG });
  const pids = [...(hub.processes().hub ?? []), ...(hub.processes().control ?? [])];
  // As a suspended laptop: everything stands still, in awkward orders, and wakes up.
  for (const order of [
    [hub.pid, ...pids],
    [...pids, hub.pid],
  ]) {
    for (const pid of order) tryKill(pid, 'SIGSTOP');
    await delay(8000);
    for (const pid of order) tryKill(pid, 'SIGCONT');
    await delay(2500);
  }
  const now = [...(hub.processes().hub ?? []), ...(hub.processes().control ?? [])];
  const value = pids.filter((pid) => !now.includes(pid)).length;
  measured({ promise: 'P10', what: 'killed on a machine that slept', value, unit: '', strict: 0 });
  assert.doesNotMatch(hub.log, /process-condemned/);
  assert.equal(await statusOf(`${hub.url}/health`), 200);
});

test('how a hub died is told when the hub is started again', async () => {
  const dataDir = mkdtempSync(join(tmpdir(), 'mcphub-evidence-'));
  try {
    {
      await using hub = await startHub({ config: CONFIG, dataDir, env: { NODE_ENV: 'test', MCPHUB_FAULT_HOOKS: '1' } });
      const client = new Client(hub);
      await until(async () => isResult(await client.call('one_echo', { text: 'up' })), 30_000, 'one');
      await delay(1500);
      void client.call('one_sleep', { ms: 20_000 }, 4000);
      await delay(1500);
      const [stalled = 0] = hub.processes().hub ?? [];
      tryKill(stalled, 'SIGUSR2');
      await until(() => !isAlive(stalled), 20_000, 'its end');
      client.close();
      await hub.stop();
    }
    await using again = await startHub({ config: CONFIG, dataDir });
    const line = again.lines.find(({ event }) => event === 'earlier-death');
    assert.match(
      String(line?.msg),
      /hub-1 ended at .*its event loop is stalled; blocked in .*blockTheLoop \(process\/fault-hooks\.ts:\d+\)/,
    );
    const path = /\((\/[^()]*\.json)\)$/.exec(String(line?.msg))?.[1] ?? '';
    const evidence = JSON.parse(readFileSync(path, 'utf8')) as { lastBeat: { waits: string } };
    assert.match(evidence.lastBeat.waits, /1 upstream-call \(oldest \d+ ms/, 'what it waited for');
    await again.stop();
    await using third = await startHub({ config: CONFIG, dataDir });
    assert.equal(third.lines.filter(({ event }) => event === 'earlier-death').length, 0, 'told once');
  } finally {
    rmSync(dataDir, { recursive: true, force: true });
  }
});

// row B19 · guards src/cli/as-init.ts
test('as the first process of a container: orphans are buried, signals heard, the exit code passed on', async () => {
  const dataDir = mkdtempSync(join(tmpdir(), 'mcphub-init-'));
  const port = await freePort();
  writeFileSync(join(dataDir, 'c.json'), JSON.stringify(CONFIG));
  // The orphans' parents are gone at once, so that they are the first process's.
  const orphans = 'i=0; while [ $i -lt 100 ]; do (sleep 0.2 &) ; i=$((i+1)); done';
  const hub = spawn(
    'unshare',
    [
      ...['-p', '-f', '--mount-proc', '--kill-child', process.execPath, CLI, 'start'],
      ...['--config', join(dataDir, 'c.json'), '--data-dir', dataDir, '--port', String(port)],
    ],
    { cwd: ROOT, env: cleanEnv(), stdio: 'ignore' },
  );
  const exited = new Promise<number | null>((done) => hub.once('exit', (code) => done(code)));
  try {
    await until(async () => (await statusOf(`http://127.0.0.1:${port}/health`)) === 200, 30_000, 'the hub');
    const first = Number(spawnSync('pgrep', ['-P', String(hub.pid)], { encoding: 'utf8' }).stdout.trim());
    assert.equal(readFileSync(`/proc/${first}/comm`, 'utf8').trim(), 'sh');
    spawnSync('nsenter', ['-t', String(first), '-p', '-m', 'sh', '-c', orphans]);
    await delay(1000);
    const zombies = spawnSync('ps', ['--ppid', String(first), '-o', 'stat='], { encoding: 'utf8' }).stdout;
    assert.equal(zombies.split('\n').filter((state) => state.startsWith('Z')).length, 0, zombies);
    tryKill(first, 'SIGTERM');
    assert.equal(await Promise.race([exited, delay(15_000).then(() => 'it goes on')]), 0);
  } finally {
    hub.kill('SIGKILL');
    rmSync(dataDir, { recursive: true, force: true });
  }
});
