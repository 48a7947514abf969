import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { sql } from 'kysely';
import { frozenRuntime } from '../../test/support/frozen-runtime.ts';
import { type Loaded, parseConfig } from '../config/load.ts';
import type { HubError } from '../model/errors.ts';
import { isRefusal, type Outcome } from '../model/outcome.ts';
import { type Listing, type Snapshot, wholeListing } from '../model/snapshot.ts';
import type { KeysFrame } from '../relay/keys-messages.ts';
import type { SessionRecord } from '../relay/relay-messages.ts';
import { listListings } from '../store/listings.ts';
import { openStore, type Store } from '../store/store.ts';
import { Control } from './control.ts';
import { ensureFirstKey, FIRST_KEY_FILE } from './first-key.ts';

const TWO = { mcpServers: { a: { url: 'http://127.0.0.1:1/mcp' }, b: { url: 'http://127.0.0.1:2/mcp' } } };
const parsed = (config: unknown): Loaded => parseConfig(JSON.stringify(config), '/x/mcp_settings.json', {});

async function bench(t: TestContext, options: { dir?: string; config?: unknown } = {}) {
  const frozen = frozenRuntime();
  const { runtime } = frozen;
  const dir = options.dir ?? (await mkdtemp(join(tmpdir(), 'mcphub-control-')));
  const published: Snapshot[] = [];
  const sent: SessionRecord[] = [];
  const keyFrames: KeysFrame[] = [];
  const loaded = { next: parsed(options.config ?? TWO) };
  const { config } = loaded.next;
  assert.ok(config, 'the configuration of the bench is good');
  const { limits } = config;
  const store: Store = await openStore({ runtime, limits, dir }, runtime.deadline(5000));
  const control: Control = new Control({
    runtime,
    limits,
    store,
    config,
    load: async () => loaded.next,
    workers: 2,
    broadcast: {
      publish(snapshot) {
        published.push(snapshot);
        return [];
      },
      publishKeys: (frame) => void keyFrames.push(frame),
      workers: () => [],
      awaitConfirmation: async () => [],
      sendSessionRecords: (tombstones) => void sent.push(...tombstones),
      relist: () => {},
    },
  });
  await control.start(runtime.deadline(5000));
  t.after(async () => {
    await control.stop(runtime.deadline(1000));
    await store.close(runtime.deadline(1000));
    await rm(dir, { recursive: true, force: true });
  });
  const soon = () => runtime.deadline(4000);
  /** Waits for the store and background work without advancing the clock. */
  const settle = async () => {
    for (let turn = 0; turn < 100; turn += 1) {
      frozen.advance(0);
      await new Promise<void>((resolve) => setImmediate(resolve));
    }
  };
  return { ...frozen, limits, dir, store, control, published, keyFrames, sent, loaded, soon, settle };
}

function got<T>(outcome: Outcome<T>): T {
  assert.ok(!isRefusal(outcome), isRefusal(outcome) ? outcome.message : '');
  return outcome;
}

const listing = (server: string, digest: string, natives: readonly string[], atMs = 1): Listing =>
  wholeListing({
    server,
    atMs,
    digest,
    tools: natives.map((native) => ({
      native,
      json: '{}',
      title: native,
      repaired: undefined,
      dropStructured: false,
    })),
    hidden: [],
    instructions: '',
  });
const NEW_KEY = { user: 'ann', name: 'laptop', role: 'member', groups: undefined, expiresAtMs: undefined } as const;

test('removes a revoked key from the published keys at once, without a snapshot, also after a restart', async (t) => {
  const { control, published, keyFrames, soon, dir, facts } = await bench(t);
  const { key, secret } = got(await control.keys.create(NEW_KEY, 'test', soon()));
  assert.equal(published.length, 1);
  assert.deepEqual(
    keyFrames.at(-1)?.keys.map(({ id }) => id),
    [key.id],
  );
  assert.equal(secret.slice(0, 15), key.prefix);
  got(await control.keys.revoke(key.prefix, 'test', soon()));
  assert.deepEqual(keyFrames.at(-1)?.keys, []);
  const restarted = await bench(t, { dir });
  assert.deepEqual(restarted.keyFrames.at(-1)?.keys, []);
  assert.deepEqual(restarted.published.at(-1)?.keys, []);
  assert.ok(
    (restarted.keyFrames[0]?.keysRevision ?? 0) > (keyFrames.at(-1)?.keysRevision ?? 0),
    'revisions rise over restarts',
  );
  const said = JSON.stringify(facts);
  assert.ok(said.includes('key-created') && said.includes('key-revoked'));
  assert.ok(!said.includes(secret), 'no event contains the key');
  for (const file of ['mcphub.db', 'mcphub.db-wal']) {
    assert.ok(!(await readFile(join(dir, file))).includes(secret.slice(16)), `the key is not in ${file}`);
  }
});

test('rotation keeps family, role and user, and revokes the old key', async (t) => {
  const { control, keyFrames, soon } = await bench(t);
  const old = got(await control.keys.create(NEW_KEY, 'test', soon()));
  const made = got(await control.keys.rotate(old.key.id, 'test', soon()));
  const live = keyFrames.at(-1)?.keys ?? [];
  assert.deepEqual(
    live.map(({ id }) => id),
    [made.key.id],
  );
  assert.deepEqual(
    [made.key.family, made.key.userId, made.key.role, made.key.name],
    [old.key.family, old.key.userId, 'member', 'laptop'],
  );
  assert.notEqual(made.secret, old.secret);
  assert.ok(isRefusal(await control.keys.rotate(old.key.id, 'test', soon())));
});

test('revokes a key in memory when the disk fails, and returns store-failed', async (t) => {
  const { control, published, advance, soon, store } = await bench(t);
  const { key } = got(await control.keys.create(NEW_KEY, 'test', soon()));
  await store.close(soon());
  await assert.rejects(control.keys.revoke(key.id, 'test', soon()), { code: 'store-failed' });
  advance(100);
  assert.deepEqual(published.at(-1)?.keys, []);
});

test('refuses invalid key requests with a message', async (t) => {
  const { control, soon } = await bench(t);
  const refusals = [
    await control.keys.create({ ...NEW_KEY, user: ' ' }, 'test', soon()),
    await control.keys.create({ ...NEW_KEY, name: 'a\u0007b' }, 'test', soon()),
    await control.keys.create({ ...NEW_KEY, groups: ['none'] }, 'test', soon()),
    await control.keys.create({ ...NEW_KEY, expiresAtMs: 5 }, 'test', soon()),
    await control.keys.revoke('mcphub_', 'test', soon()),
  ];
  for (const refusal of refusals) assert.ok(isRefusal(refusal));
  assert.deepEqual(control.keys.list(), []);
});

test('names new tools once, publishes at most four times a second and restores names after a restart', async (t) => {
  const { control, published, advance, settle, dir } = await bench(t);
  advance(1000);
  const before = published.length;
  for (let at = 0; at < 20; at += 1) {
    const natives = Array.from({ length: at + 1 }, (_, tool) => `t${tool}`);
    control.handlers.listingReceived(1, listing('a', `d${at}`, natives, at));
    await settle();
    advance(25);
  }
  advance(300);
  assert.ok(published.length - before <= 4, `${published.length - before} publishes`);
  assert.equal(published.at(-1)?.listings[0]?.digest, 'd19');
  assert.equal(published.at(-1)?.names.length, 20);
  await settle();
  const restarted = await bench(t, { dir });
  assert.deepEqual(restarted.published[0]?.names, published.at(-1)?.names);
  assert.equal(JSON.stringify(restarted.published[0]?.listings), JSON.stringify(published.at(-1)?.listings));
});

test('publishes nothing for a listing that is unchanged, outdated or of an unknown server', async (t) => {
  const { control, published, advance, settle } = await bench(t);
  control.handlers.listingReceived(1, listing('a', 'd', ['x'], 10));
  await settle();
  advance(300);
  const before = published.length;
  control.handlers.listingReceived(2, listing('a', 'd', ['x'], 20));
  control.handlers.listingReceived(2, listing('unknown', 'd', ['x'], 20));
  await settle();
  control.handlers.listingReceived(2, listing('a', 'older', ['y'], 5));
  await settle();
  advance(1000);
  assert.equal(published.length, before);
});

test('stores the lists of 100 servers that arrive together in at most five transactions', async (t) => {
  const names = Array.from({ length: 100 }, (_, at) => `s${at}`);
  const mcpServers = Object.fromEntries(names.map((name) => [name, { url: `http://127.0.0.1:1/${name}` }]));
  const { control, settle, store, soon } = await bench(t, { config: { mcpServers } });
  let transactions = 0;
  const run = store.run.bind(store);
  t.mock.method(store, 'run', (...args: Parameters<typeof run>) => {
    transactions += 1;
    return run(...args);
  });
  for (const server of names) control.handlers.listingReceived(1, listing(server, 'd', ['x']));
  await settle();
  assert.equal((await listListings(store, soon())).length, 100);
  assert.ok(transactions <= 5, `${transactions} transactions`);
});

test('publishes listings while the disk is full, and stores them when there is space again', async (t) => {
  const { control, published, advance, settle, store, soon, facts, dir } = await bench(t);
  const limitPages = (max: number) =>
    store.run('limit pages', (db) => sql.raw(`pragma max_page_count = ${max}`).execute(db), soon());
  await limitPages(1);
  control.handlers.listingReceived(1, { ...listing('a', 'd', ['x']), instructions: 'x'.repeat(300_000) });
  await settle();
  advance(300);
  assert.equal(published.at(-1)?.listings[0]?.digest, 'd');
  const faults = facts.flatMap((fact) => (fact.type === 'task-faulted' ? [(fact.fault as HubError).code] : []));
  assert.ok(faults.includes('store-failed'), faults.join());
  await limitPages(1_000_000);
  control.handlers.listingReceived(1, listing('b', 'd', ['x']));
  await settle();
  // Each transaction runs in its own turn of the event loop.
  advance(1);
  await settle();
  const restarted = await bench(t, { dir });
  assert.deepEqual(
    restarted.published[0]?.listings.map(({ server }) => server),
    ['a', 'b'],
  );
});

test('publishes a valid reload and returns the difference; an invalid one changes nothing and returns all errors', async (t) => {
  const { control, published, loaded, soon, facts } = await bench(t);
  loaded.next = parsed({ mcpServers: { a: { url: 'http://127.0.0.1:9/mcp' }, c: { command: 'x' } } });
  const done = got(await control.reload.reloadNow(soon()));
  assert.deepEqual([done.added, done.removed, done.changed], [['c'], ['b'], ['a']]);
  assert.deepEqual(
    published.at(-1)?.servers.map(({ slug }) => slug),
    ['a', 'c'],
  );
  const before = published.length;
  loaded.next = parsed({ mcpServers: { a: { url: 5 }, c: { comand: 'x' } } });
  const refused = await control.reload.reloadNow(soon());
  assert.ok(isRefusal(refused) && refused.code === 'config-invalid');
  const errors = refused.detail.operator?.errors as string[];
  assert.ok(errors.length >= 2 && errors.some((line) => line.includes('mcpServers.a.url')), errors.join('\n'));
  assert.equal(published.length, before);
  assert.deepEqual(control.reload.status.refused?.errors, errors);
  assert.ok(facts.some((fact) => fact.type === 'config-refused' && fact.errors.length === errors.length));
});

test('does not apply the same content twice, reports a refused file once, and does not publish a file with the same meaning', async (t) => {
  const { control, published, loaded, soon, facts } = await bench(t);
  const { next: first } = loaded;
  await control.reload.reloadNow(soon());
  const before = published.length;
  const sent = () => facts.filter(({ type }) => type === 'config-applied' || type === 'config-refused').length;
  const toldBefore = sent();
  assert.equal(await control.reload.reloadIfChanged(soon()), undefined);
  assert.equal(sent(), toldBefore);
  loaded.next = parsed({ mcpServers: { a: { comand: 'x' } } });
  assert.ok(isRefusal(await control.reload.reloadIfChanged(soon())));
  assert.equal(await control.reload.reloadIfChanged(soon()), undefined, 'still invalid');
  assert.equal(sent(), toldBefore + 1);
  loaded.next = { ...first, digest: 'the same with a comment' };
  assert.ok(await control.reload.reloadIfChanged(soon()), 'fixed');
  assert.equal(control.reload.status.refused, undefined);
  assert.equal(sent(), toldBefore + 2);
  assert.equal(published.length, before, 'the snapshot is the same');
});

test('stores tombstones, sends them to all workers and to new ones, and deletes them after a day', async (t) => {
  const { control, sent, advanceAsync, settle, dir, runtime, limits } = await bench(t);
  const atMs = runtime.clock.wallMs();
  control.handlers.sessionRecordReceived({ id: 'x', atMs, wishes: undefined });
  control.handlers.sessionRecordReceived({ id: 'old', atMs: atMs - limits.sessionMs - 1000, wishes: undefined });
  assert.deepEqual(sent, []);
  await advanceAsync(60);
  await settle();
  assert.deepEqual(
    sent.map(({ id }) => id),
    ['x', 'old'],
  );
  const restarted = await bench(t, { dir });
  restarted.setWall(atMs);
  assert.deepEqual(restarted.control.handlers.sessionRecords(), [{ id: 'x', atMs, wishes: undefined }]);
});

test('stores the newest preferences of a session; nothing replaces a tombstone', async (t) => {
  const { control, sent, advanceAsync, settle, dir, runtime } = await bench(t);
  const atMs = runtime.clock.wallMs();
  const say = (id: string, wishes: string | undefined, ms: number) =>
    control.handlers.sessionRecordReceived({ id, atMs: atMs + ms, wishes });
  say('a', 'first', 1);
  say('a', 'second', 2);
  say('a', 'late and old', 1);
  say('b', undefined, 1);
  say('b', 'after the end', 9);
  await advanceAsync(60);
  await settle();
  const expected = [
    { id: 'a', atMs: atMs + 2, wishes: 'second' },
    { id: 'b', atMs: atMs + 1, wishes: undefined },
  ];
  assert.deepEqual(sent.slice(-2), expected);
  const restarted = await bench(t, { dir });
  restarted.setWall(atMs);
  assert.deepEqual(
    [...restarted.control.handlers.sessionRecords()].sort((x, y) => x.id.localeCompare(y.id)),
    expected,
  );
});

test('publishes above the revision of a worker when the store was restored from a backup', async (t) => {
  const { control, published, keyFrames } = await bench(t);
  control.handlers.workerConnected(1, 123, 5000);
  assert.equal(keyFrames.at(-1)?.keysRevision, 5001);
  assert.equal(published.at(-1)?.revision, 5002);
  control.handlers.workerConnected(2, 124, 10);
  assert.equal(published.at(-1)?.revision, 5002);
  control.handlers.workerDisconnected(2);
  assert.deepEqual(
    control.reports.list().map(({ slot, connected, pid }) => [slot, connected, pid]),
    [
      [1, true, 123],
      [2, false, 124],
    ],
  );
});

test('stores the time of last use of a key', async (t) => {
  const { control, soon, settle, dir } = await bench(t);
  const { key } = got(await control.keys.create(NEW_KEY, 'test', soon()));
  control.handlers.keysUsed([key.id, 'unknown']);
  await settle();
  const restarted = await bench(t, { dir });
  assert.ok((restarted.control.keys.list()[0]?.lastUsedAtMs ?? 0) > 0);
});

async function firstKey(t: TestContext, env: Record<string, string>, lines?: string[][]) {
  const rig = await bench(t);
  const { runtime, limits, control, dir } = rig;
  const show = lines && ((sent: readonly string[]) => void lines.push([...sent]));
  const parts = { runtime, port: limits.port, keys: control.keys, env, dataDir: dir, show };
  return { ...rig, run: () => ensureFirstKey(parts, runtime.deadline(4000)) };
}

test('writes the first key to a private file without a terminal, and logs only its path', async (t) => {
  const { run, dir, facts, control } = await firstKey(t, {});
  await run();
  const file = join(dir, FIRST_KEY_FILE);
  const secret = (await readFile(file, 'utf8')).trim();
  assert.match(secret, /^mcphub_[0-9a-f]{64}$/);
  assert.equal((await stat(file)).mode & 0o777, 0o600);
  assert.ok(facts.some((fact) => fact.type === 'first-key-kept' && fact.file === file));
  assert.ok(!JSON.stringify(facts).includes(secret));
  assert.deepEqual(
    control.keys.list().map(({ role, prefix }) => [role, prefix]),
    [['owner', secret.slice(0, 15)]],
  );
  await rm(file);
  await run();
  await assert.rejects(stat(file), 'a second start creates no second key');
});

test('shows the first key with a configuration example on a terminal, and writes no file', async (t) => {
  const lines: string[][] = [];
  const { run, dir, control } = await firstKey(t, {}, lines);
  await run();
  const text = lines[0]?.join('\n') ?? '';
  assert.match(text, /mcphub_[0-9a-f]{64}/);
  assert.match(text, /http:\/\/localhost:3000\/mcp/);
  await assert.rejects(stat(join(dir, FIRST_KEY_FILE)));
  assert.equal(control.keys.list().length, 1);
});

// finding: SR-L5
test('takes the first key from the environment or a file; an invalid one is a configuration error', async (t) => {
  const secret = `mcphub_${createHash('sha256').update('a key of this test').digest('hex')}`;
  const direct = await firstKey(t, { MCPHUB_BOOTSTRAP_KEY: secret }, []);
  await direct.run();
  assert.equal(direct.control.keys.list()[0]?.last4, secret.slice(-4));
  const folder = await mkdtemp(join(tmpdir(), 'mcphub-given-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, 'key'), `${secret}\n`);
  const filed = await firstKey(t, { MCPHUB_BOOTSTRAP_KEY_FILE: join(folder, 'key') });
  await filed.run();
  assert.equal(filed.control.keys.list().length, 1);
  await assert.rejects(stat(join(filed.dir, FIRST_KEY_FILE)));
  const guessable = ['0'.repeat(64), 'ab'.repeat(32), '0123456789abcdef'.repeat(4)].map((digits) => ({
    MCPHUB_BOOTSTRAP_KEY: `mcphub_${digits}`,
  }));
  const wrong = [
    ...guessable,
    { MCPHUB_BOOTSTRAP_KEY: 'admin123' },
    { MCPHUB_BOOTSTRAP_KEY_FILE: join(folder, 'none') },
  ];
  for (const env of wrong) {
    const bad = await firstKey(t, env);
    await assert.rejects(bad.run(), (fault: HubError) => {
      assert.ok(!fault.message.includes('admin123'));
      return fault.code === 'config-invalid';
    });
    assert.deepEqual(bad.control.keys.list(), []);
  }
});
