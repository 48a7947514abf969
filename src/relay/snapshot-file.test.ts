import assert from 'node:assert/strict';
import { mkdtemp, readdir, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { keyRecord } from '../../test/support/small-worlds.ts';
import { EMPTY_SNAPSHOT, type Snapshot } from '../model/snapshot.ts';
import { createRuntime } from '../runtime/runtime.ts';
import { SnapshotFile } from './snapshot-file.ts';

const snapshot = (revision: number): Snapshot => ({ ...EMPTY_SNAPSHOT, revision, keysRevision: revision });

async function folder(t: TestContext): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'mcphub-snapshot-'));
  t.after(() => rm(dir, { recursive: true, force: true }));
  return dir;
}

test('reads back the last snapshot, from a file only its owner can read, without temporary files', async (t) => {
  const dir = await folder(t);
  const runtime = createRuntime();
  const file = new SnapshotFile({ runtime, dir, slot: 1 });
  for (let revision = 1; revision <= 50; revision += 1) file.write(snapshot(revision));
  await file.flush(runtime.deadline(2000));
  assert.deepEqual(await file.read(runtime.deadline(1000)), { ...snapshot(50), keysRevision: 0 });
  assert.deepEqual(await readdir(dir), ['hub-1.snapshot.json']);
  assert.equal((await stat(join(dir, 'hub-1.snapshot.json'))).mode & 0o777, 0o600);
});

test('writes at most once a second, the newest snapshot', async (t) => {
  const dir = await folder(t);
  const runtime = createRuntime();
  const waiting: { ms: number; fn: () => void }[] = [];
  const timers = {
    ...runtime.timers,
    after: (ms: number, fn: () => void) => {
      const one = { ms, fn };
      waiting.push(one);
      return { [Symbol.dispose]: () => void waiting.splice(waiting.indexOf(one), 1) };
    },
  };
  const file = new SnapshotFile({ runtime: { ...runtime, timers }, dir, slot: 1 });
  file.write(snapshot(1));
  assert.equal(waiting.length, 1);
  await file.flush(runtime.deadline(2000));
  file.write(snapshot(2));
  file.write(snapshot(3));
  assert.equal(waiting.length, 1);
  assert.ok((waiting[0]?.ms ?? 0) > 500, 'the second write rests');
  assert.match(await readFile(join(dir, 'hub-1.snapshot.json'), 'utf8'), /"revision":1/);
  await file.flush(runtime.deadline(2000));
  assert.equal((await file.read(runtime.deadline(1000)))?.revision, 3);
});

// row E2 · guards src/relay/snapshot-file.ts
test('reads the newest intact file of another worker when its own is damaged', async (t) => {
  const dir = await folder(t);
  const runtime = createRuntime();
  for (const slot of [2, 3, 4]) {
    await writeFile(join(dir, `hub-${slot}.snapshot.json`), JSON.stringify(snapshot(slot)));
    await utimes(join(dir, `hub-${slot}.snapshot.json`), slot, slot);
  }
  await writeFile(join(dir, 'hub-1.snapshot.json'), '{"format":1,"revision":9,"serv');
  await writeFile(join(dir, 'hub-4.snapshot.json'), 'null');
  await writeFile(join(dir, 'other.json'), JSON.stringify(snapshot(99)));
  const file = new SnapshotFile({ runtime, dir, slot: 1 });
  assert.equal((await file.read(runtime.deadline(1000)))?.revision, 3);
  const capped = new SnapshotFile({ runtime, dir, slot: 1, maxBytes: 10 });
  assert.equal(await capped.read(runtime.deadline(1000)), undefined);
});

/** Returns the keys with which a worker starts from these files of a data directory. */
async function keysFrom(t: TestContext, files: Readonly<Record<string, string>>) {
  const dir = await folder(t);
  for (const [name, text] of Object.entries(files)) await writeFile(join(dir, name), text);
  const runtime = createRuntime();
  const snapshot = await new SnapshotFile({ runtime, dir, slot: 1 }).read(runtime.deadline(1000));
  return {
    revision: snapshot?.revision,
    keysRevision: snapshot?.keysRevision,
    keys: snapshot?.keys.map(({ id }) => id),
  };
}

/** A snapshot with keys, as older versions wrote it. */
const older = (revision: number, digit: string): string => {
  const { keysRevision: _, ...rest } = snapshot(revision);
  return JSON.stringify({ ...rest, keys: [keyRecord(digit)] });
};
const newer = (revision: number): string => JSON.stringify(snapshot(revision));
const keysFile = (revision: number, digit: string): string =>
  JSON.stringify({ format: 1, revision, keysRevision: revision, keys: [keyRecord(digit)] });

// finding: SR-H3
test('starts with the newest snapshot of all workers, not with its own', async (t) => {
  const files = { 'hub-1.snapshot.json': newer(3), 'hub-2.snapshot.json': newer(8), 'keys.json': keysFile(9, 'a') };
  assert.deepEqual(await keysFrom(t, files), { revision: 8, keysRevision: 9, keys: ['key-a'] });
});

test('takes keys from the newest file that contains keys, never from an older one', async (t) => {
  const both = { 'hub-1.snapshot.json': older(3, 'b'), 'keys.json': keysFile(9, 'a') };
  assert.deepEqual((await keysFrom(t, both)).keys, ['key-a']);
  const later = { 'hub-1.snapshot.json': older(12, 'b'), 'keys.json': keysFile(9, 'a') };
  assert.deepEqual((await keysFrom(t, later)).keys, ['key-b']);
  const none = { 'hub-1.snapshot.json': older(3, 'b'), 'hub-2.snapshot.json': older(4, 'c') };
  assert.deepEqual(await keysFrom(t, none), { revision: 4, keysRevision: 4, keys: ['key-c'] });
});

test('uses no key when it is unknown which ones are revoked', async (t) => {
  const closed = { keysRevision: 0, keys: [] };
  for (const damaged of ['', '{"format":1', '{"format":1,"revision":9,"keysRevision":9,"keys":[{"id":', 'null'])
    assert.deepEqual(await keysFrom(t, { 'hub-1.snapshot.json': older(3, 'b'), 'keys.json': damaged }), {
      revision: 3,
      ...closed,
    });
  const torn = { 'hub-1.snapshot.json': older(3, 'b'), 'hub-2.snapshot.json': '{"for' };
  assert.deepEqual(await keysFrom(t, torn), { revision: 3, ...closed });
  assert.deepEqual(await keysFrom(t, { 'hub-1.snapshot.json': newer(3) }), { revision: 3, ...closed });
});

test('returns nothing without directory, file or time, and publishes an event when writing fails', async (t) => {
  const dir = join(await folder(t), 'missing');
  const runtime = createRuntime();
  const facts: string[] = [];
  runtime.bus.listen((fact) => facts.push(fact.type));
  const file = new SnapshotFile({ runtime, dir, slot: 1 });
  assert.equal(await file.read(runtime.deadline(1000)), undefined);
  const over = runtime.deadline(1000);
  over.end('cancelled');
  assert.equal(await file.read(over), undefined);
  file.write(snapshot(1));
  await file.flush(runtime.deadline(1000));
  assert.deepEqual(facts, ['task-faulted']);
});
