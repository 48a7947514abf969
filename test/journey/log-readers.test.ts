/**
 * The incident's own cause: whoever reads the hub's stdout stops reading. Here nobody ever reads, at debug level, and
 * 10,000 requests are answered.
 */
// runs: in pairs, about 40 s
// covers: A8
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync, statSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { type RunningHub, startHub, until } from '../support/hub.ts';
import { Client, isResult, slowness, stdioServer } from '../support/load.ts';
import { LogPipe } from '../support/log-pipe.ts';

const REQUESTS = 10_000;
const AT_ONCE = 20;
const WARM = 1000;
const GROWTH = 1.3;
/**
 * A young generation of up to 48 MiB, and what the kernel had taken back before; lines that wait for their reader would
 * be far more.
 */
const GROWTH_BYTES = 96 * 1024 * 1024;
const STOP_MS = 10_000;
const ENV = { LOG_LEVEL: 'debug', MCPHUB_LOG_LEVEL: 'debug' };
const CONFIG = { mcpServers: { one: stdioServer() } };

/** `count` requests on `AT_ONCE` connections; resolves with those that were not answered as they should be. */
async function ask(hub: RunningHub, count: number): Promise<string[]> {
  const failed: string[] = [];
  let left = count;
  async function work(): Promise<void> {
    const client = new Client(hub);
    while (left > 0) {
      left -= 1;
      // Every tenth goes to the server and back.
      const answer = await (left % 10 === 0 ? client.call('one_echo', { text: 'x' }) : client.list());
      if (!isResult(answer)) failed.push(`${answer.status} ${answer.fault ?? answer.text.slice(0, 200)}`);
    }
    client.close();
  }
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  return failed;
}

function rssBytes(pid: number): number {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) * 1024;
}

async function survive(stdout: number): Promise<void> {
  await using hub = await startHub({ config: CONFIG, stdout, env: ENV });
  const warm = new Client(hub);
  await until(async () => isResult(await warm.call('one_echo')), 60_000, 'the server');
  warm.close();
  assert.deepEqual(await ask(hub, WARM), []);
  const pids = [hub.pid, ...(hub.processes().hub ?? [])];
  const before = pids.map(rssBytes);
  assert.deepEqual((await ask(hub, REQUESTS)).slice(0, 5), []);
  for (const [at, pid] of pids.entries()) {
    const [was = 0, is] = [before[at], rssBytes(pid)];
    assert.ok(is <= Math.max(was * GROWTH, was + GROWTH_BYTES), `process ${at} grew from ${was} to ${is} bytes`);
  }
  const slow = await slowness();
  const bornMs = performance.now();
  assert.equal(await hub.stop(), 0);
  const tookMs = performance.now() - bornMs;
  assert.ok(tookMs <= STOP_MS * slow, `it ended after ${Math.round(tookMs)} ms`);
  assert.deepEqual(hub.descendants(), []);
}

describe('10,000 requests at debug level with stdout', { timeout: 300_000 }, () => {
  // row F1 · guards src/telemetry/_sink-ends.ts
  test('a pipe that nobody reads', async () => {
    using pipe = new LogPipe();
    await survive(pipe.fd);
  });

  test('a terminal that nobody reads', async () => {
    // The master's end is held open and never read.
    const script = 'import os, time\nm, s = os.openpty()\nprint(os.ttyname(s), flush=True)\ntime.sleep(600)';
    const holder: ChildProcess = spawn('python3', ['-c', script], { stdio: ['ignore', 'pipe', 'inherit'] });
    try {
      const [name] = (await once(holder.stdout as NodeJS.ReadableStream, 'data')) as [Buffer];
      const fd = openSync(name.toString('utf8').trim(), 'r+');
      try {
        await survive(fd);
      } finally {
        closeSync(fd);
      }
    } finally {
      holder.kill('SIGKILL');
    }
  });

  test('a pipe whose reader goes away: the supervisor goes on, and an orderly stop leaves nothing', async () => {
    await using hub = await startHub({ config: CONFIG, env: ENV });
    hub.child.stdout?.destroy();
    assert.deepEqual(await ask(hub, WARM), []);
    // What a write to that pipe, or to the channel of a hub that has just died, does to the supervisor.
    hub.child.kill('SIGPIPE');
    assert.deepEqual(await ask(hub, AT_ONCE), []);
    assert.equal(await hub.stop(), 0);
    assert.deepEqual(hub.descendants(), []);
    assert.equal(existsSync(join(hub.dataDir, 'lock')), false, 'the lock is gone');
  });

  test('a file', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'mcphub-test-log-'));
    const fd = openSync(join(dir, 'log'), 'a');
    try {
      await survive(fd);
      assert.ok(statSync(join(dir, 'log')).size > 100_000, 'the log is in it');
    } finally {
      closeSync(fd);
      rmSync(dir, { recursive: true, force: true });
    }
  });

  test('a socket that nobody reads', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'mcphub-test-log-'));
    const path = join(dir, 'log.sock');
    const accepted: Socket[] = [];
    const server = createServer({ pauseOnConnect: true }, (socket) => accepted.push(socket));
    server.listen(path);
    await once(server, 'listening');
    const socket = connect(path);
    await once(socket, 'connect');
    try {
      await survive((socket as unknown as { _handle: { fd: number } })._handle.fd);
    } finally {
      socket.destroy();
      for (const one of accepted) one.destroy();
      server.close();
      rmSync(dir, { recursive: true, force: true });
    }
  });
});
