/**
 * The lock, the run directory and the evidence on a real disk.
 */
// covers: A9
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { readProcessStat } from '../runtime/process-stat.ts';
import { readBlockingStack, writeCrashReport } from './crash-reports.ts';
import { clearSockets, FatalStartError, lockDataDir, prepareRunDir } from './host.ts';

function freshDir(): { readonly path: string } & Disposable {
  const path = mkdtempSync(join(tmpdir(), 'mcphub-ground-'));
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) };
}

test('creates the data directory, takes the lock and releases it', () => {
  using dir = freshDir();
  const dataDir = join(dir.path, 'a/b');
  const lock = lockDataDir(dataDir);
  assert.equal((JSON.parse(readFileSync(join(dataDir, 'lock'), 'utf8')) as { pid: number }).pid, process.pid);
  assert.deepEqual(readdirSync(dataDir), ['lock']);
  lock.release();
  assert.deepEqual(readdirSync(dataDir), []);
});

test('names the holder of the lock if it runs', async () => {
  using dir = freshDir();
  const holder = spawn(process.execPath, ['-e', 'setTimeout(() => {}, 20000)'], { stdio: 'ignore' });
  try {
    const pid = holder.pid ?? -1;
    const text = JSON.stringify({ pid, startTicks: readProcessStat(pid)?.startTicks });
    writeFileSync(join(dir.path, 'lock'), text);
    assert.throws(
      () => lockDataDir(dir.path),
      (fault) => fault instanceof FatalStartError && fault.message.includes(`pid ${pid}`),
    );
    assert.equal(readFileSync(join(dir.path, 'lock'), 'utf8'), text);
    assert.deepEqual(readdirSync(dir.path), ['lock']);
  } finally {
    holder.kill('SIGKILL');
    await once(holder, 'exit');
  }
});

for (const [what, text] of [
  ['of a process that is gone', JSON.stringify({ pid: 2 ** 22 + 1, startTicks: '1' })],
  ['of a process whose pid another one has now', JSON.stringify({ pid: process.ppid, startTicks: '1' })],
  ['that is empty', ''],
  ['that is damaged', '{"pid":'],
] as const)
  test(`a lock ${what} is taken over`, () => {
    using dir = freshDir();
    writeFileSync(join(dir.path, 'lock'), text);
    const lock = lockDataDir(dir.path);
    assert.equal((JSON.parse(readFileSync(join(dir.path, 'lock'), 'utf8')) as { pid: number }).pid, process.pid);
    assert.deepEqual(readdirSync(dir.path), ['lock'], 'nothing is left beside it');
    lock.release();
  });

test('a lock in a symbolic link, as on a full disk, is respected while its holder runs and taken over after', () => {
  using dir = freshDir();
  const path = join(dir.path, 'lock');
  symlinkSync(JSON.stringify({ pid: process.ppid, startTicks: readProcessStat(process.ppid)?.startTicks }), path);
  assert.throws(() => lockDataDir(dir.path), FatalStartError);
  rmSync(path);
  symlinkSync(JSON.stringify({ pid: 2 ** 22 + 1, startTicks: '1' }), path);
  const lock = lockDataDir(dir.path);
  assert.equal(lock.wasStale, true);
  lock.release();
  assert.deepEqual(readdirSync(dir.path), []);
});

test('release does not remove a lock that another process has taken meanwhile', () => {
  using dir = freshDir();
  const lock = lockDataDir(dir.path);
  writeFileSync(join(dir.path, 'lock'), JSON.stringify({ pid: 1, startTicks: '1' }));
  lock.release();
  assert.ok(existsSync(join(dir.path, 'lock')));
});

test('reports a data directory that cannot be created', () => {
  using dir = freshDir();
  writeFileSync(join(dir.path, 'file'), '');
  assert.throws(() => lockDataDir(join(dir.path, 'file/data')), FatalStartError);
});

test('the run directory is closed to others and free of old sockets; other files stay', async () => {
  using dir = freshDir();
  const runDir = join(dir.path, 'run');
  mkdirSync(runDir, { mode: 0o755 });
  const server = createServer().listen(join(runDir, 'live.sock'));
  await once(server, 'listening');
  writeFileSync(join(runDir, 'not-a-socket.sock'), '');
  writeFileSync(join(runDir, 'stall-hub-1.txt'), 'pid 1 stood still');
  symlinkSync('/nowhere', join(runDir, 'link.sock'));
  prepareRunDir(runDir);
  assert.equal(statSync(runDir).mode & 0o777, 0o700);
  assert.deepEqual(readdirSync(runDir).sort(), ['link.sock', 'not-a-socket.sock']);
  server.close();
});

test('refuses a run directory that is a symbolic link', () => {
  using dir = freshDir();
  symlinkSync(dir.path, join(dir.path, 'run'));
  assert.throws(() => prepareRunDir(join(dir.path, 'run')), FatalStartError);
});

test('creates a run directory that was removed, and deletes the sockets of a process that exited', () => {
  using dir = freshDir();
  const runDir = join(dir.path, 'run');
  clearSockets(runDir, ['hub-1.sock']);
  assert.equal(statSync(runDir).mode & 0o777, 0o700);
  writeFileSync(join(runDir, 'hub-1.sock'), '');
  writeFileSync(join(runDir, 'hub-2.sock'), '');
  clearSockets(runDir, ['hub-1.sock']);
  assert.deepEqual(readdirSync(runDir), ['hub-2.sock']);
});

test('a blocking stack counts only for the process that it names', async () => {
  using dir = freshDir();
  writeFileSync(join(dir.path, 'stall-hub-1.txt'), 'pid 41 stood still at noon in:\nblockTheLoop\n');
  assert.match((await readBlockingStack(dir.path, 'hub-1', 41)) ?? '', /blockTheLoop/);
  assert.equal(await readBlockingStack(dir.path, 'hub-1', 4), undefined);
  assert.equal(await readBlockingStack(dir.path, 'hub-2', 41), undefined);
});

test('crash reports are private, the newest 20 are kept, and a full disk stops nothing', async () => {
  using dir = freshDir();
  for (let at = 0; at < 23; at += 1) {
    const path = await writeCrashReport(dir.path, `hub-${at}`, { at });
    assert.equal(statSync(path ?? '').mode & 0o777, 0o600);
  }
  assert.equal(readdirSync(join(dir.path, 'evidence')).length, 20);
  writeFileSync(join(dir.path, 'full'), '');
  assert.equal(await writeCrashReport(join(dir.path, 'full'), 'hub-1', {}), undefined);
});
