import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { createRuntime } from '../../runtime/runtime.ts';
import { SessionMemory, sessionTarget } from './session-memory.ts';
import type { SessionRecord } from './session-record.ts';

const HTTP = { url: 'http://127.0.0.1:1/mcp', headers: { Authorization: 'Bearer a' } };
const TARGET = sessionTarget('one', HTTP);

function place(
  t: TestContext,
  max = 3,
): {
  readonly dir: string;
  readonly running: Set<number>;
  life(pid: number, slot?: number): SessionMemory;
} {
  const parent = mkdtempSync(join(tmpdir(), 'mcphub-sessions-'));
  t.after(() => rmSync(parent, { recursive: true, force: true }));
  const dir = join(parent, 'sessions');
  const runtime = createRuntime();
  // Of several processes only the newest runs, and those that are named.
  let newest = 0;
  const running = new Set<number>();
  return {
    dir,
    running,
    life(pid, slot = 1) {
      newest = pid;
      const isRunning = (other: { readonly pid: number }): boolean => other.pid === newest || running.has(other.pid);
      return new SessionMemory({ runtime, dir, slot, max: () => max, self: { pid, startTicks: '7' }, isRunning });
    },
  };
}

function record(id: string, version?: string): SessionRecord {
  return { id, version, idsBelow: 65_536, hello: undefined };
}

/** Waits for a file, which is written at once in the background. */
async function untilWritten(dir: string, file: string): Promise<void> {
  const path = join(dir, file);
  while (!existsSync(path) || readFileSync(path, 'utf8') === '') await new Promise((go) => setImmediate(go));
}

async function idsLeft(memory: SessionMemory, target = TARGET): Promise<readonly string[]> {
  using deadline = createRuntime().deadline(2000);
  return (await memory.left(target, deadline)).map(({ id }) => id).sort();
}

// case: SV24
test('finds what a killed life has left, and not what is open in this one', async (t) => {
  const { dir, life } = place(t);
  const first = life(10);
  const file = first.opened(TARGET, record('session-a', '2025-11-25'));
  assert.deepEqual(await idsLeft(first), []);
  while (readdirSync(join(dir, '..')).length === 0 || readdirSync(dir).length === 0)
    await new Promise((go) => setImmediate(go));
  assert.equal(statSync(dir).mode & 0o777, 0o700);
  assert.equal(statSync(join(dir, file)).mode & 0o777, 0o600);
  assert.ok(!file.includes('session-a'));
  const second = life(11);
  assert.deepEqual(await idsLeft(second), ['session-a']);
  await second.ended(file);
  assert.deepEqual(readdirSync(dir), []);
  first.released(file);
  assert.deepEqual(await idsLeft(second), []);
});

// case: SV24
test('a session belongs to one server, address and set of headers', async (t) => {
  const { life } = place(t);
  const first = life(10);
  await first.ended(first.opened(TARGET, record('gone')));
  first.opened(TARGET, record('session-a'));
  const others = [
    sessionTarget('two', HTTP),
    sessionTarget('one', { ...HTTP, url: 'http://127.0.0.1:2/mcp' }),
    sessionTarget('one', { ...HTTP, headers: { Authorization: 'Bearer b' } }),
  ];
  const second = life(11);
  for (const other of others) assert.deepEqual(await idsLeft(second, other), []);
  assert.equal(new Set([TARGET, ...others]).size, 4);
});

// case: SV24
test('a server that takes a new session has its old ones forgotten, and no more than the limit stays', async (t) => {
  const { dir, life } = place(t);
  const first = life(10);
  for (const id of ['a', 'b', 'c', 'd', 'e']) {
    const file = first.opened(sessionTarget(id, HTTP), record(id));
    // Written and cleaned up.
    await first.ended(first.opened(TARGET, record(`${id}2`)));
    first.released(file);
  }
  assert.ok(readdirSync(dir).length <= 4, readdirSync(dir).join());
  const second = life(11);
  const kept = second.opened(sessionTarget('e', HTTP), record('new'));
  await second.ended(second.opened(TARGET, record('x')));
  assert.deepEqual(await idsLeft(second, sessionTarget('e', HTTP)), []);
  assert.ok(readdirSync(dir).includes(kept));
});

test('a damaged file is no session, and a directory that cannot be written harms nobody', async (t) => {
  const { dir, life } = place(t);
  writeFileSync(dir, 'a file where the directory should be');
  const memory = life(10);
  await memory.ended(memory.opened(TARGET, record('a')));
  assert.deepEqual(await idsLeft(memory), []);
  rmSync(dir);
  const file = memory.opened(TARGET, record('b'));
  await memory.ended(file);
  writeFileSync(join(dir, file), '{"format":1,"id":"a\\r\\nHost: x"}');
  assert.deepEqual(await idsLeft(life(11)), []);
});

// case: SV24
test('what another running worker has opened is not left over, nor in another file of the same session', async (t) => {
  const { dir, running, life } = place(t);
  const holder = life(10, 2);
  await holder.ended(holder.opened(TARGET, record('x')));
  const file = holder.opened(TARGET, record('session-a'));
  await untilWritten(dir, file);
  // The link that holds it is ending, and no answer of that worker reports it.
  running.add(10);
  const other = life(11);
  assert.deepEqual(await idsLeft(other), []);
  using deadline = createRuntime().deadline(2000);
  assert.deepEqual(
    [await other.isInUse(TARGET, 'session-a', deadline), await other.isInUse(TARGET, 'session-b', deadline)],
    [true, false],
  );
  writeFileSync(join(dir, file.replace('.2.10-7.', '.3.9-7.')), '{"format":1,"id":"session-a"}');
  assert.deepEqual(await idsLeft(other), [], 'one id');
  running.delete(10);
  assert.deepEqual(await idsLeft(other), ['session-a', 'session-a']);
});

// case: SV24
test('a pid that was given again is another process', async (t) => {
  const { dir, life } = place(t);
  const own = life(10).opened(TARGET, record('session-a'));
  const other = life(10, 2).opened(TARGET, record('session-b'));
  for (const file of [own, other]) await untilWritten(dir, file);
  renameSync(join(dir, other), join(dir, other.replace('.2.10-7.', '.3.10-6.')));
  assert.deepEqual(await idsLeft(life(11)), ['session-a', 'session-b']);
});

test('what is no plain file is not opened', async (t) => {
  const { dir, life } = place(t);
  const memory = life(10);
  const file = memory.opened(TARGET, record('session-a'));
  await memory.ended(file);
  execFileSync('mkfifo', [join(dir, file)]);
  for (let round = 0; round < 5; round += 1) assert.deepEqual(await idsLeft(life(11)), []);
  await readFile(process.execPath, { flag: 'r' });
});

test('two late answers of one target are waited for at once', (t) => {
  const memory = place(t).life(10);
  const [one, two] = [memory.waitLate(TARGET), memory.waitLate(TARGET)];
  assert.ok(one && two);
  assert.equal(memory.waitLate(TARGET), undefined);
  one[Symbol.dispose]();
  assert.ok(memory.waitLate(TARGET));
});

// case: SV24c
test('one of several workers takes over a session that is left, with all that is known of it', async (t) => {
  const { dir, running, life } = place(t);
  const hello = {
    version: '2025-06-18',
    name: 'one',
    serverVersion: '1',
    instructions: 'i',
    capabilities: { tools: {} },
  };
  const first = life(10);
  const file = first.opened(TARGET, record('session-a'));
  first.changed(file, { id: 'session-a', version: '2025-06-18', idsBelow: 200_000, hello });
  using deadline = createRuntime().deadline(5000);
  const [second, third] = [life(11), life(12)];
  running.add(11);
  while ((await second.left(TARGET, deadline))[0]?.hello === undefined) await new Promise((go) => setImmediate(go));
  const [left] = await second.left(TARGET, deadline);
  assert.ok(left);
  assert.deepEqual(left, { id: 'session-a', version: '2025-06-18', idsBelow: 200_000, hello, file });
  const taken = await Promise.all([second.taken(TARGET, left, deadline), third.taken(TARGET, left, deadline)]);
  assert.equal(taken.filter((one) => one !== undefined).length, 1);
  assert.equal(readdirSync(dir).length, 1);
  assert.deepEqual([await idsLeft(second), await idsLeft(third)], [[], []]);
});

// case: SV24c
test('what its opener has given up may be taken while that one runs', async (t) => {
  const { running, life } = place(t);
  const first = life(10);
  running.add(10);
  const file = first.opened(TARGET, record('session-a'));
  const other = life(11, 2);
  assert.deepEqual(await idsLeft(other), []);
  await first.givenUp(TARGET, 'session-a', file);
  assert.deepEqual([await idsLeft(other), await idsLeft(first)], [['session-a'], ['session-a']]);
});

// case: SV24c
test('a session that is taken over too late is given up again', async (t) => {
  const { dir, running, life } = place(t);
  const first = life(10);
  await untilWritten(dir, first.opened(TARGET, record('session-a')));
  const second = life(11, 2);
  running.add(11);
  const third = life(12, 3);
  const runtime = createRuntime();
  using deadline = runtime.deadline(1000);
  const [one] = await second.left(TARGET, deadline);
  assert.ok(one);
  using ended = runtime.deadline(1000);
  const taking = second.taken(TARGET, one, ended);
  ended.end('cancelled');
  assert.equal(await taking, undefined);
  while ((await idsLeft(third)).length === 0) await new Promise((go) => setImmediate(go));
  assert.deepEqual(await idsLeft(second), ['session-a']);
});

test('an id under the name of another session is not read', async (t) => {
  const { dir, life } = place(t);
  const first = life(10);
  const file = first.opened(TARGET, record('session-a'));
  await untilWritten(dir, file);
  writeFileSync(join(dir, `${TARGET}.9.0-.${'0'.repeat(16)}.json`), readFileSync(join(dir, file)));
  assert.deepEqual(await idsLeft(first), []);
  assert.deepEqual(await idsLeft(life(11, 2)), ['session-a']);
});

test('a directory full of files is looked at in part', async (t) => {
  const { dir, life } = place(t);
  const first = life(10);
  await untilWritten(dir, first.opened(TARGET, record('session-a')));
  for (let nth = 0; nth < 5000; nth += 1)
    writeFileSync(join(dir, `${TARGET}.9.0-.${nth.toString(16).padStart(16, '0')}.json`), '{}');
  const second = life(11, 2);
  await untilWritten(dir, second.opened(TARGET, record('session-b')));
  while (readdirSync(dir).length > 3000) await new Promise((go) => setTimeout(go, 20));
});

test('of many servers and workers no more files stay than the limit', async (t) => {
  const { dir, life } = place(t, 6000);
  await untilWritten(dir, life(10).opened(TARGET, record('session-a')));
  for (let nth = 0; nth < 7000; nth += 1)
    writeFileSync(join(dir, `${'f'.repeat(32)}.9.0-.${nth.toString(16).padStart(16, '0')}.json`), '{}');
  await untilWritten(dir, life(11, 2).opened(TARGET, record('session-b')));
  while (readdirSync(dir).length > 6000) await new Promise((go) => setTimeout(go, 20));
});
