import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { type TestContext, test } from 'node:test';
import { frozenRuntime } from '../../test/support/frozen-runtime.ts';
import { limitsFrom } from '../config/limits.ts';
import type { SessionRecord } from '../store/session-records.ts';
import { openStore, STORE_FILE } from '../store/store.ts';
import { SessionRecords } from './session-records.ts';

async function rig(t: TestContext, more: { dir?: string; limits?: Record<string, number> } = {}) {
  const frozen = frozenRuntime();
  const { runtime } = frozen;
  const dir = more.dir ?? (await mkdtemp(join(tmpdir(), 'mcphub-records-')));
  const limits = limitsFrom(more.limits ?? {});
  const store = await openStore({ runtime, limits, dir }, runtime.deadline(5000));
  const sent: SessionRecord[] = [];
  const records = new SessionRecords({ runtime, limits, store, send: (list) => void sent.push(...list) });
  const started = performance.now();
  await records.start(runtime.deadline(5000));
  const startMs = performance.now() - started;
  t.after(async () => {
    records.stop();
    await store.close(runtime.deadline(1000));
    await rm(dir, { recursive: true, force: true });
  });
  /** Waits until no record is pending. */
  const written = async () => {
    for (let round = 0; round < 400 && frozen.runtime.ceilings.table().some(isWaiting); round += 1) {
      await frozen.advanceAsync(60);
      for (let turn = 0; turn < 20; turn += 1) await new Promise<void>((resolve) => setImmediate(resolve));
    }
  };
  return { ...frozen, dir, records, sent, startMs, written };
}

function isWaiting({ name, size }: { name: string; size: number }): boolean {
  return name === 'control.marks-unkept' && size > 0;
}

test('deletes oversized records from the store at the start and loads the others within 2 s', async (t) => {
  const first = await rig(t);
  const atMs = first.runtime.clock.wallMs();
  first.records.add({ id: 'good', atMs, wishes: '{"level":"debug","subscriptions":[]}', owner: 'k' });
  await first.written();
  const database = new DatabaseSync(join(first.dir, STORE_FILE));
  const insert = database.prepare('insert into session_marks (id, at, wishes) values (?, ?, ?)');
  for (let n = 0; n < 6; n += 1) insert.run(`bad${n}`, atMs + n, 'x'.repeat(4 * 1024 * 1024));
  database.close();
  const again = await rig(t, { dir: first.dir });
  assert.deepEqual(
    again.records.all().map(({ id }) => id),
    ['good'],
  );
  assert.ok(again.startMs < 2000, `${again.startMs} ms`);
  const fault = again.facts.find((fact) => fact.type === 'task-faulted');
  assert.match(String(fault?.type === 'task-faulted' && fault.fault), /6 session records of more than 65536 bytes/);
});

test('neither stores nor sends a record above sessionPreferencesBytes', async (t) => {
  const { records, sent, written } = await rig(t);
  records.add({ id: 'long', atMs: 1, wishes: 'x'.repeat(70_000) });
  records.add({ id: 'short', atMs: 1, wishes: 'x'.repeat(100) });
  await written();
  assert.deepEqual(
    sent.map(({ id }) => id),
    ['short'],
  );
});

test('a key that ends many sessions does not evict tombstones of another key, also after a restart', async (t) => {
  const limits = { tombstones: 200, tombstonesPerKey: 150 };
  const { records, written, dir, runtime } = await rig(t, { limits });
  const atMs = runtime.clock.wallMs();
  for (let n = 0; n < 20; n += 1) records.add({ id: `b${n}`, atMs, wishes: undefined, owner: 'B' });
  await written();
  for (let n = 0; n < 1000; n += 1) {
    records.add({ id: `a${n}`, atMs: atMs + 1, wishes: undefined, owner: 'A' });
    if (n % 100 === 99) await written();
  }
  const count = (list: readonly SessionRecord[], owner: string) =>
    list.filter((record) => record.owner === owner).length;
  assert.deepEqual([count(records.all(), 'A'), count(records.all(), 'B')], [150, 20]);
  const again = await rig(t, { dir, limits });
  assert.deepEqual([count(again.records.all(), 'A'), count(again.records.all(), 'B')], [150, 20]);
});

test('a key above preferencesBytesPerKey loses its own preferences and none of another key', async (t) => {
  const limits = { preferencesBytes: 65_536, preferencesBytesPerKey: 20_000 };
  const { records, written } = await rig(t, { limits });
  for (let n = 0; n < 40; n += 1) records.add({ id: `a${n}`, atMs: 1, wishes: 'x'.repeat(4000), owner: 'A' });
  records.add({ id: 'b', atMs: 1, wishes: 'x'.repeat(4000), owner: 'B' });
  await written();
  const ids = records.all().map(({ id }) => id);
  assert.deepEqual([ids.length, ids.includes('b')], [6, true]);
});
