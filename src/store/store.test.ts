import assert from 'node:assert/strict';
import { mkdtemp, open, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { type TestContext, test } from 'node:test';
import { sql } from 'kysely';
import { limitsFrom } from '../config/limits.ts';
import type { HubEvent } from '../model/events.ts';
import { wholeListing } from '../model/snapshot.ts';
import { createRuntime } from '../runtime/runtime.ts';
import { listAudit } from './audit.ts';
import { addKey, listKeys, type NewKey, revokeKey, updateLastUsed } from './keys.ts';
import { listListings, putListings } from './listings.ts';
import { raiseRevision, readRevision } from './meta.ts';
import { MIGRATIONS } from './migrations.ts';
import { changeNames, listNames } from './names.ts';
import {
  addSessionRecords,
  dropExpiredSessionRecords,
  dropOversizedSessionRecords,
  listSessionRecords,
} from './session-records.ts';
import { addSlugs, listSlugs } from './slugs.ts';
import { openStore, STORE_FILE, type Store } from './store.ts';

const NEWEST = MIGRATIONS.at(-1)?.version ?? 0;

const limits = limitsFrom({});

interface Bench {
  readonly dir: string;
  readonly store: Store;
  readonly facts: HubEvent[];
  readonly soon: () => ReturnType<ReturnType<typeof createRuntime>['deadline']>;
}

async function bench(t: TestContext, dir?: string): Promise<Bench> {
  const runtime = createRuntime();
  const facts: HubEvent[] = [];
  runtime.bus.listen((fact) => facts.push(fact));
  const folder = dir ?? (await mkdtemp(join(tmpdir(), 'mcphub-store-')));
  const store = await openStore({ runtime, limits, dir: folder }, runtime.deadline(5000));
  t.after(async () => {
    await store.close(runtime.deadline(1000));
    await rm(folder, { recursive: true, force: true });
  });
  return { dir: folder, store, facts, soon: () => runtime.deadline(2000) };
}

function newKey(id: string, more: Partial<NewKey> = {}): NewKey {
  const rest = { prefix: 'mcphub_00000000', last4: 'ffff', groups: undefined, createdAtMs: 5, expiresAtMs: undefined };
  return { id, hash: `h-${id}`, family: `f-${id}`, userName: 'ann', role: 'owner', name: 'laptop', ...rest, ...more };
}

const ANY = { sinceMs: 0, recordBytes: 10_000, allBytes: 1_000_000 } as const;

test('returns a stored key with its user; the file is readable only by its owner', async (t) => {
  const { dir, store, soon } = await bench(t);
  await addKey(store, newKey('k1', { groups: ['dev'], expiresAtMs: 99 }), { actor: 'test', newUserId: 'u1' }, soon());
  await addKey(store, newKey('k2', { createdAtMs: 6 }), { actor: 'test', newUserId: 'u2' }, soon());
  const [second, first] = await listKeys(store, soon());
  assert.deepEqual(
    [first?.id, first?.groups, first?.expiresAtMs, first?.userId, first?.userName],
    ['k1', ['dev'], 99, 'u1', 'ann'],
  );
  assert.deepEqual(
    [second?.id, second?.groups, second?.userId, second?.revokedAtMs],
    ['k2', undefined, 'u1', undefined],
  );
  for (const file of [STORE_FILE, `${STORE_FILE}-wal`]) assert.equal((await stat(join(dir, file))).mode & 0o777, 0o600);
});

test('rotation adds and revokes in one transaction; revoking twice keeps the first time', async (t) => {
  const { store, soon } = await bench(t);
  await addKey(store, newKey('k1'), { actor: 'test', newUserId: 'u1' }, soon());
  await addKey(store, newKey('k2', { createdAtMs: 7 }), { actor: 'test', newUserId: 'u2', replaces: 'k1' }, soon());
  const keys = await listKeys(store, soon());
  assert.deepEqual(
    keys.map((key) => [key.id, key.revokedAtMs]),
    [
      ['k2', undefined],
      ['k1', 7],
    ],
  );
  assert.equal((await revokeKey(store, { id: 'k1', atMs: 50, actor: 'test' }, soon()))?.revokedAtMs, 7);
  assert.equal(await revokeKey(store, { id: 'none', atMs: 50, actor: 'test' }, soon()), undefined);
  await updateLastUsed(store, ['k2', 'none'], 77, soon());
  assert.equal((await listKeys(store, soon()))[0]?.lastUsedAtMs, 77);
  assert.deepEqual(
    (await listAudit(store, 9, soon())).map((entry) => entry.action),
    ['key-rotate', 'key-create'],
  );
});

test('rolls back a change that fails', async (t) => {
  const { store, soon } = await bench(t);
  await addKey(store, newKey('k1'), { actor: 'test', newUserId: 'u1' }, soon());
  const twin = newKey('k2', { hash: 'h-k1', userName: 'bob' });
  await assert.rejects(addKey(store, twin, { actor: 'test', newUserId: 'u2' }, soon()), { code: 'store-failed' });
  assert.equal((await listKeys(store, soon())).length, 1);
  const users = await store.run('count', (db) => db.selectFrom('users').selectAll().execute(), soon());
  assert.deepEqual(
    users.map((user) => user.name),
    ['ann'],
  );
});

test('runs concurrent requests one after the other', async (t) => {
  const { store, soon } = await bench(t);
  const ids = Array.from({ length: 20 }, (_, at) => `k${at}`);
  await Promise.all(ids.map((id) => addKey(store, newKey(id), { actor: 'test', newUserId: `u-${id}` }, soon())));
  assert.equal((await listKeys(store, soon())).length, 20);
});

test('names keep the order of assignment, and can be reassigned and deleted', async (t) => {
  const { store, soon } = await bench(t);
  const name = (exposed: string, server = 's', native = exposed) => ({
    kind: 'tool' as const,
    exposed,
    server,
    native,
  });
  await changeNames(store, { add: [name('z'), name('b'), name('a')], drop: [] }, soon());
  await changeNames(store, { add: [name('b', 'other'), name('c')], drop: [name('z')] }, soon());
  assert.deepEqual(await listNames(store, soon()), [name('a'), name('b', 'other'), name('c')]);
});

test('names of tools and prompts are independent', async (t) => {
  const { store, soon } = await bench(t);
  const tool = { kind: 'tool', exposed: 'a_b', server: 'a', native: 'b' } as const;
  const prompt = { ...tool, kind: 'prompt' } as const;
  await changeNames(store, { add: [tool, prompt], drop: [] }, soon());
  assert.deepEqual(await listNames(store, soon()), [tool, prompt]);
  await changeNames(store, { add: [], drop: [prompt] }, soon());
  assert.deepEqual(await listNames(store, soon()), [tool]);
});

test('migration: old names belong to tools, and migrating back keeps their order', async (t) => {
  const { dir, store, soon } = await bench(t);
  await store.migrateTo(2, soon());
  await store.close(soon());
  const old = new DatabaseSync(join(dir, STORE_FILE));
  for (const exposed of ['z', 'a', 'm'])
    old.prepare('insert into names (exposed, server, native) values (?, ?, ?)').run(exposed, 's', exposed);
  const older = { server: 's', atMs: 3, digest: 'd', tools: [], hidden: [], instructions: 'hi' };
  old.prepare('insert into listings values (?, ?, ?, ?)').run('s', 3, 'd', JSON.stringify(older));
  old.close();
  const { store: newer } = await bench(t, dir);
  const name = (exposed: string) => ({ kind: 'tool' as const, exposed, server: 's', native: exposed });
  assert.deepEqual(await listNames(newer, soon()), [name('z'), name('a'), name('m')]);
  assert.deepEqual(await listListings(newer, soon()), [wholeListing(older)]);
  await changeNames(newer, { add: [{ ...name('z'), kind: 'prompt' }, name('b')], drop: [] }, soon());
  await newer.migrateTo(2, soon());
  const backup = new DatabaseSync(join(dir, `${STORE_FILE}.backup-v${NEWEST}`), { readOnly: true });
  assert.equal(backup.prepare("select count(*) as n from names where kind = 'prompt'").get()?.n, 1);
  backup.close();
  await newer.migrateTo(NEWEST, soon());
  assert.deepEqual(await listNames(newer, soon()), [name('z'), name('a'), name('m'), name('b')]);
});

test('slugs, listings, session records and the revision persist', async (t) => {
  const first = await bench(t);
  const { dir, store, soon } = first;
  const listing = wholeListing({ server: 's', atMs: 3, digest: 'd', tools: [], hidden: [], instructions: 'hi' });
  await addSlugs(store, [{ kind: 'server', name: 'S é', slug: 's' }], soon());
  await putListings(store, [{ ...listing, digest: 'old' }], soon());
  await putListings(store, [listing], soon());
  await addSessionRecords(
    store,
    [
      { id: 'a', atMs: 10, wishes: undefined },
      { id: 'b', atMs: 20, wishes: undefined },
      { id: 'c', atMs: 30, wishes: undefined },
    ],
    soon(),
  );
  const wishes = '{"level":"debug"}';
  await addSessionRecords(store, [{ id: 'w', atMs: 40, wishes }], soon());
  await addSessionRecords(store, [{ id: 'c', atMs: 50, wishes }], soon());
  await dropExpiredSessionRecords(store, 15, soon());
  await raiseRevision(store, 9, soon());
  await raiseRevision(store, 4, soon());
  await store.close(soon());
  const again = (await bench(t, dir)).store;
  assert.deepEqual(await listSlugs(again, soon()), [{ kind: 'server', name: 'S é', slug: 's' }]);
  assert.deepEqual(await listListings(again, soon()), [listing]);
  assert.deepEqual(
    await listSessionRecords(again, { ...ANY, max: 2 }, soon()),
    [
      { id: 'w', atMs: 40, wishes },
      { id: 'c', atMs: 30, wishes: undefined },
    ],
    'an end is not undone by a wish',
  );
  assert.equal((await listSessionRecords(again, { ...ANY, max: 9 }, soon())).length, 3);
  assert.equal(await readRevision(again, soon()), 9);
  assert.equal(first.facts.filter((fact) => fact.type === 'store-migrated').length, 1);
});

test('stores a long list in parts, returns it whole, and keeps it when migrating back and forward', async (t) => {
  const { dir, store, soon } = await bench(t);
  const json = JSON.stringify({ description: 'é"'.repeat(500) });
  const row = (native: string) => ({ native, json, title: native, repaired: undefined, dropStructured: false });
  const tools = Array.from({ length: 1000 }, (_, at) => row(`t${at}`));
  const of = { server: 's', atMs: 3, digest: 'd', hidden: [], instructions: '' };
  const long = wholeListing({ ...of, tools });
  const text = (listings: unknown): string => JSON.stringify(listings);
  await putListings(store, [wholeListing({ ...of, tools: tools.concat(tools) })], soon());
  await putListings(store, [wholeListing({ ...of, server: 'a', tools: [] }), long], soon());
  const parts = new DatabaseSync(join(dir, STORE_FILE), { readOnly: true });
  const sizes = parts.prepare('select length(json) as n from listing_parts').all();
  parts.close();
  assert.ok(sizes.length > 5 && sizes.every(({ n }) => Number(n) < 140_000), sizes.map(({ n }) => n).join());
  await store.migrateTo(5, soon());
  await store.migrateTo(NEWEST, soon());
  assert.equal(text((await listListings(store, soon()))[1]), text(long));
  await putListings(store, [{ ...long, tools: [] }], soon());
  assert.equal(text((await listListings(store, soon()))[1]), text({ ...long, tools: [] }));
});

test('migrates back and forward again, with a copy before each', async (t) => {
  const { dir, store, soon } = await bench(t);
  await addKey(store, newKey('k1'), { actor: 'test', newUserId: 'u1' }, soon());
  await store.migrateTo(1, soon());
  assert.equal(store.version, 1);
  const copy = new DatabaseSync(join(dir, `${STORE_FILE}.backup-v${NEWEST}`), { readOnly: true });
  assert.equal(copy.prepare('select count(*) as n from audit').get()?.n, 1);
  copy.close();
  assert.equal((await stat(join(dir, `${STORE_FILE}.backup-v${NEWEST}`))).mode & 0o777, 0o600);
  assert.equal((await listKeys(store, soon())).length, 1);
  await assert.rejects(listAudit(store, 1, soon()), { code: 'store-failed' });
  await store.migrateTo(2, soon());
  assert.deepEqual(await listAudit(store, 1, soon()), []);
  assert.equal((await stat(join(dir, `${STORE_FILE}.backup-v1`))).isFile(), true);
  await store.migrateTo(0, soon());
  await store.migrateTo(NEWEST, soon());
  assert.deepEqual(await listKeys(store, soon()), []);
});

test('a failed migration step leaves the previous version and the copy', async (t) => {
  const { dir, store, soon } = await bench(t);
  await addKey(store, newKey('k1'), { actor: 'test', newUserId: 'u1' }, soon());
  await store.close(soon());
  const runtime = createRuntime();
  const broken = [
    ...MIGRATIONS,
    { version: NEWEST + 1, up: 'create table half (a); create table keys (a);', down: '' },
  ];
  await assert.rejects(openStore({ runtime, limits, dir, migrations: broken }, soon()), { code: 'store-failed' });
  const again = (await bench(t, dir)).store;
  assert.deepEqual([again.version, (await listKeys(again, soon())).length], [NEWEST, 1]);
  const tables = await again.run('tables', (db) => db.introspection.getTables(), soon());
  assert.equal(
    tables.some((table) => table.name === 'half'),
    false,
  );
  assert.ok((await stat(join(dir, `${STORE_FILE}.backup-v${NEWEST}`))).isFile());
});

test('refuses a database of a newer program without modifying it', async (t) => {
  const { dir, store, soon } = await bench(t);
  await store.close(soon());
  const newer = new DatabaseSync(join(dir, STORE_FILE));
  newer.exec('pragma user_version = 7');
  newer.close();
  const before = await readFile(join(dir, STORE_FILE));
  const opening = openStore({ runtime: createRuntime(), limits, dir }, soon());
  await assert.rejects(opening, { code: 'config-invalid', message: /version 7, of a newer mcphub/ });
  assert.deepEqual(await readFile(join(dir, STORE_FILE)), before);
});

// row E8 · guards src/store/store.ts
test('a full disk fails that request with store-failed; reads continue, and writes when there is space', async (t) => {
  const { store, soon } = await bench(t);
  await addKey(store, newKey('k1'), { actor: 'test', newUserId: 'u1' }, soon());
  const limitPages = (max: number) =>
    store.run('limit pages', (db) => sql.raw(`pragma max_page_count = ${max}`).execute(db), soon());
  const instructions = 'x'.repeat(400_000);
  const listing = wholeListing({ server: 's', atMs: 3, digest: 'd', tools: [], hidden: [], instructions });
  await limitPages(40);
  await assert.rejects(putListings(store, [listing], soon()), { code: 'store-failed' });
  assert.equal(store.failing?.code, 'store-failed');
  assert.equal((await listKeys(store, soon())).length, 1);
  await limitPages(1_000_000);
  await putListings(store, [listing], soon());
  assert.equal(store.failing, undefined);
});

test('refuses a damaged file with an error', async (t) => {
  const { dir, store, soon } = await bench(t);
  for (let at = 0; at < 50; at += 1)
    await addKey(store, newKey(`k${at}`), { actor: 'test', newUserId: `u${at}` }, soon());
  await store.close(soon());
  const file = await open(join(dir, STORE_FILE), 'r+');
  await file.write(Buffer.alloc(12_000, 0xaa), 0, 12_000, 4096);
  await file.close();
  await assert.rejects(openStore({ runtime: createRuntime(), limits, dir }, soon()), { code: 'store-failed' });
});

test('does not start a request after its deadline or after close()', async (t) => {
  const { store, soon } = await bench(t);
  const over = soon();
  over.end('cancelled');
  await assert.rejects(addKey(store, newKey('k1'), { actor: 'test', newUserId: 'u1' }, over), { code: 'wait-expired' });
  assert.deepEqual(await listKeys(store, soon()), []);
  await store.close(soon());
  await store.close(soon());
  await assert.rejects(listKeys(store, soon()), { code: 'store-failed' });
});

test('reads session records newest first up to a limit of bytes, and no oversized ones', async (t) => {
  const { store, soon } = await bench(t);
  const text = (length: number) => 'x'.repeat(length);
  const records = [
    { id: 'ended', atMs: 1, wishes: undefined, owner: 'k' },
    ...[2, 3, 4, 5].map((atMs) => ({ id: `m${atMs}`, atMs, wishes: text(400), owner: 'k' })),
    { id: 'long', atMs: 6, wishes: text(5000) },
  ];
  await addSessionRecords(store, records, soon());
  const range = { ...ANY, max: 100, recordBytes: 1000, allBytes: 1000 };
  const read = async () => (await listSessionRecords(store, range, soon())).map(({ id }) => id);
  assert.deepEqual(await read(), ['m5', 'm4', 'ended']);
  assert.equal((await listSessionRecords(store, range, soon())).at(-1)?.owner, 'k');
  assert.equal(await dropOversizedSessionRecords(store, 1000, soon()), 1);
  await addSessionRecords(store, [{ id: 'm6', atMs: 7, wishes: text(10) }], soon(), ['m5', 'm4']);
  assert.deepEqual(await read(), ['m6', 'm3', 'm2', 'ended']);
});
