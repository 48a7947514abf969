import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { createKernel } from '../kernel/kernel.ts';
import { SessionMemory, sessionTarget } from './session-memory.ts';

const HTTP = { url: 'http://127.0.0.1:1/mcp', headers: { Authorization: 'Bearer a' } };
const TARGET = sessionTarget('one', HTTP);

function place(t: TestContext): { readonly dir: string; life(pid: number, slot?: number): SessionMemory } {
  const parent = mkdtempSync(join(tmpdir(), 'mcphub-sessions-'));
  t.after(() => rmSync(parent, { recursive: true, force: true }));
  const dir = join(parent, 'sessions');
  const kernel = createKernel();
  // Of several lives only the newest runs.
  let newest = 0;
  return {
    dir,
    life(pid, slot = 1) {
      newest = pid;
      return new SessionMemory({ kernel, dir, slot, max: () => 3, pid, isRunning: (other) => other === newest });
    },
  };
}

async function idsLeft(memory: SessionMemory, target = TARGET): Promise<readonly string[]> {
  using deadline = createKernel().deadline(2000);
  return (await memory.left(target, deadline)).map(({ id }) => id).sort();
}

// case: SV24
test('finds what a killed life has left, and not what is open in this one', async (t) => {
  const { dir, life } = place(t);
  const first = life(10);
  const file = first.opened(TARGET, 'session-a', '2025-11-25');
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
  await first.ended(first.opened(TARGET, 'gone', undefined));
  first.opened(TARGET, 'session-a', undefined);
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
    const file = first.opened(sessionTarget(id, HTTP), id, undefined);
    // Written and tidied.
    await first.ended(first.opened(TARGET, `${id}2`, undefined));
    first.released(file);
  }
  assert.ok(readdirSync(dir).length <= 4, readdirSync(dir).join());
  const second = life(11);
  const kept = second.opened(sessionTarget('e', HTTP), 'new', undefined);
  await second.ended(second.opened(TARGET, 'x', undefined));
  assert.deepEqual(await idsLeft(second, sessionTarget('e', HTTP)), []);
  assert.ok(readdirSync(dir).includes(kept));
});

test('a damaged file is no session, and a directory that cannot be written harms nobody', async (t) => {
  const { dir, life } = place(t);
  writeFileSync(dir, 'a file where the directory should be');
  const memory = life(10);
  await memory.ended(memory.opened(TARGET, 'a', undefined));
  assert.deepEqual(await idsLeft(memory), []);
  rmSync(dir);
  const file = memory.opened(TARGET, 'b', undefined);
  await memory.ended(file);
  writeFileSync(join(dir, file), '{"format":1,"id":"a\\r\\nHost: x"}');
  assert.deepEqual(await idsLeft(life(11)), []);
});

test('two late answers of one target are waited for at once', (t) => {
  const memory = place(t).life(10);
  const [one, two] = [memory.waitLate(TARGET), memory.waitLate(TARGET)];
  assert.ok(one && two);
  assert.equal(memory.waitLate(TARGET), undefined);
  one[Symbol.dispose]();
  assert.ok(memory.waitLate(TARGET));
});
