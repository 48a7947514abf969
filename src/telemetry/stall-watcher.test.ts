/**
 * The stall watcher records the blocking stack while the event loop is blocked.
 * covers: A6, P10
 */
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { dirname, join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { startChild, type TelemetryChild, tempDir } from '../../test/support/telemetry-rig.ts';
import { loopSocketName } from '../model/supervisor-messages.ts';

const FILE = 'stall-hub-1.txt';
const PATIENCE_MS = 8000;
function later(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** The watcher starts a second after its process. */
function isWatched(pid: number): boolean {
  const tasks = `/proc/${pid}/task`;
  return readdirSync(tasks).some((task) => readFileSync(`${tasks}/${task}/comm`, 'utf8').startsWith('stall-witness'));
}

async function until(what: string, isTrue: () => boolean): Promise<void> {
  const endMs = performance.now() + PATIENCE_MS;
  while (!isTrue()) {
    if (performance.now() > endMs) throw new Error(`waited in vain: ${what}`);
    await later(25);
  }
}

async function written(path: string): Promise<string> {
  await until('a stack on disk', () => existsSync(path) && readFileSync(path, 'utf8').endsWith('\n'));
  return readFileSync(path, 'utf8');
}

async function childIn(
  t: TestContext,
  env: Readonly<Record<string, string>> = {},
): Promise<{ child: TelemetryChild; path: string }> {
  const dir = tempDir(t);
  const child = await startChild(t, { stdout: 'pipe', env: { RUN_DIR: dir, ...env } });
  child.process.stdout?.resume();
  return { child, path: join(dir, FILE) };
}

test('records a busy loop while it lasts, and reports its end', async (t) => {
  const { child, path } = await childIn(t);
  await until('a witness', () => isWatched(child.pid));
  child.order({ t: 'stall', how: 'loop', ms: 4000 });
  const [first, ...frames] = (await written(path)).split('\n');
  const [, pid, ms] = /^\d{4}-\d\d-\d\dT[\d:.]+Z pid (\d+) stalled for (\d+) ms$/.exec(first ?? '') ?? [];
  assert.equal(Number(pid), child.pid);
  assert.ok(Number(ms) >= 1000 && Number(ms) < 4000, first);
  // The stack may be taken inside a function that the loop calls.
  assert.match(frames.slice(0, 8).join('\n'), /^ {4}at guiltyLoop \(file:.*telemetry-child\.ts:\d+:\d+\)$/m);
  for (let asked = 0; asked < 100; asked += 1) {
    child.order({ t: 'counts' });
    const { counts, last } = await child.word('counted');
    if (counts['loop-stalled'] === undefined) await later(50);
    else return assert.match(last, /loop-stalled: the event loop was blocked/);
  }
  assert.fail('no fact about the stall');
});

test('records a regular expression that backtracks endlessly', async (t) => {
  const { child, path } = await childIn(t);
  await until('a witness', () => isWatched(child.pid));
  child.order({ t: 'stall', how: 'pattern', ms: 0 });
  assert.match(await written(path), /at guiltyPattern \(file:.*telemetry-child\.ts/);
});

/** Returns the thread's answer on its socket: ms since the loop advanced; undefined when there is none. */
function loopAdvancedMs(dir: string, pid: number): Promise<number | undefined> {
  return new Promise((resolve) => {
    const socket = connect(join(dir, loopSocketName(pid)));
    let text = '';
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString();
    });
    socket.on('error', () => {});
    socket.on('close', () => resolve(/^\d+\n$/.test(text) ? Number(text) : undefined));
  });
}

// finding: SR-O1
test('distinguishes late timers from a blocked event loop', async (t) => {
  const { child, path } = await childIn(t);
  const dir = dirname(path);
  await until('a witness', () => isWatched(child.pid));
  await until('its socket', () => existsSync(join(dir, loopSocketName(child.pid))));
  assert.ok(((await loopAdvancedMs(dir, child.pid)) ?? Infinity) < 1000);
  child.order({ t: 'stall', how: 'timers', ms: 0 });
  await later(2500);
  const late = await loopAdvancedMs(dir, child.pid);
  assert.ok((late ?? Infinity) < 1000, `the loop advances without timers: ${late} ms`);
  assert.equal(existsSync(path), false, 'late timers are not reported as a stall');
  child.order({ t: 'stall', how: 'loop', ms: 3000 });
  await later(2000);
  const stuck = await loopAdvancedMs(dir, child.pid);
  assert.ok(stuck !== undefined && stuck > 1000, `the loop is stuck: ${stuck} ms`);
});

test('is disabled by MCPHUB_STALL_WITNESS=0', async (t) => {
  const { child, path } = await childIn(t, { MCPHUB_STALL_WITNESS: '0' });
  await later(1500);
  assert.equal(isWatched(child.pid), false);
  child.order({ t: 'stall', how: 'loop', ms: 1500 });
  child.order({ t: 'counts' });
  assert.equal((await child.word('counted')).counts['loop-stalled'], undefined);
  assert.equal(existsSync(path), false);
});
