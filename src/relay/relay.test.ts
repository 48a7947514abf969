import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, rm, stat } from 'node:fs/promises';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { limitsFrom } from '../config/limits.ts';
import type { Fact } from '../kernel/facts.ts';
import { createKernel, type Kernel } from '../kernel/kernel.ts';
import { EMPTY_SNAPSHOT, type Listing, type ServerSpec, type Snapshot, wholeListing } from '../kernel/snapshot.ts';
import { createRelayClient, type RelayClient } from './relay-client.ts';
import type { SessionMark } from './relay-messages.ts';
import { createRelayServer, type RelayServer } from './relay-server.ts';

const limits = limitsFrom({});

interface Heard {
  readonly words: unknown[][];
  readonly kept: SessionMark[];
}

async function folder(t: TestContext): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'mcphub-relay-'));
  t.after(() => rm(dir, { recursive: true, force: true }));
  return join(dir, 'relay.sock');
}

function serverOn(t: TestContext, socketPath: string, heard: Heard, kernel: Kernel = createKernel()): RelayServer {
  const note =
    (word: string) =>
    (...rest: unknown[]) =>
      void heard.words.push([word, ...rest]);
  const ears = {
    hello: note('hello'),
    gone: note('gone'),
    listing: note('listing'),
    facts: note('facts'),
    mark: note('mark'),
    statuses: note('statuses'),
    used: note('used'),
    marks: () => heard.kept,
  };
  const server = createRelayServer({ kernel, limits, socketPath, ears });
  t.after(() => server.stop(kernel.deadline(500)));
  return server;
}

interface HubSide {
  readonly kernel: Kernel;
  readonly client: RelayClient;
  readonly snapshots: Snapshot[];
  readonly marks: SessionMark[];
  readonly facts: Fact[];
}

function hubOn(t: TestContext, socketPath: string, values: Record<string, number> = {}): HubSide {
  const kernel = createKernel();
  const side = { kernel, snapshots: [] as Snapshot[], marks: [] as SessionMark[], facts: [] as Fact[] };
  kernel.bus.listen((fact) => side.facts.push(fact));
  const client = createRelayClient({
    kernel,
    limits: limitsFrom(values),
    socketPath,
    slot: 1,
    life: 1,
    onSnapshot: (snapshot) => side.snapshots.push(snapshot),
    onMarks: (marks) => side.marks.push(...marks),
  });
  t.after(() => client.stop(kernel.deadline(500)));
  return { ...side, client };
}

/** Waits for events of the outside, bounded. */
async function until(check: () => boolean, what: string, ms = 4000): Promise<void> {
  const end = performance.now() + ms;
  while (!check()) {
    assert.ok(performance.now() < end, `${what} did not come true`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

const heardNothing = (): Heard => ({ words: [], kept: [] });
const spec = (slug: string) => ({ slug, name: slug }) as ServerSpec;
const world = (revision: number, more: Partial<Snapshot> = {}): Snapshot => ({
  ...EMPTY_SNAPSHOT,
  revision,
  keysRevision: revision,
  ...more,
});
const listing = (server: string, digest: string): Listing =>
  wholeListing({
    server,
    atMs: 1,
    digest,
    tools: [],
    hidden: [],
    instructions: '',
  });
const countOf = (heard: Heard, word: string) => heard.words.filter(([name]) => name === word).length;

test('a hub gets the world and the tombstones when it connects, and each change after that', async (t) => {
  const path = await folder(t);
  const heard: Heard = { words: [], kept: [{ id: 'old', atMs: 1, wishes: undefined }] };
  const server = serverOn(t, path, heard);
  const hub = hubOn(t, path);
  await server.start(hub.kernel.deadline(1000));
  assert.equal((await stat(path)).mode & 0o777, 0o600);
  server.publish(world(3));
  await hub.client.start(hub.kernel.deadline(1000));
  await until(() => hub.snapshots.length === 1, 'the first world');
  server.publish(world(4));
  server.tellMarks([{ id: 'new', atMs: 2, wishes: undefined }]);
  await until(() => hub.snapshots.length === 2 && hub.marks.length === 2, 'the change');
  assert.deepEqual(
    hub.snapshots.map(({ revision }) => revision),
    [3, 4],
  );
  assert.deepEqual(heard.words[0], ['hello', 1, process.pid, 0]);
  assert.equal(hub.client.connected, true);
});

test('what a hub tells arrives, faults as their message only', async (t) => {
  const path = await folder(t);
  const heard = heardNothing();
  const server = serverOn(t, path, heard);
  const hub = hubOn(t, path);
  await server.start(hub.kernel.deadline(1000));
  await hub.client.start(hub.kernel.deadline(1000));
  hub.client.sendStatuses([]);
  hub.client.sendListing(listing('s', 'd'));
  hub.client.sendMark({ id: 'x', atMs: 5, wishes: undefined });
  hub.client.sendFact({ type: 'task-faulted', task: 'a', fault: new Error('it broke', { cause: 'secret' }) });
  const circle: { self?: unknown } = {};
  circle.self = circle;
  hub.client.sendFact({ type: 'task-faulted', task: 'b', fault: circle });
  await until(() => countOf(heard, 'facts') > 0, 'facts');
  const told = heard.words.find(([name]) => name === 'facts')?.[2];
  assert.deepEqual(told, [
    { type: 'task-faulted', task: 'a', fault: 'it broke' },
    { type: 'task-faulted', task: 'b', fault: '[object Object]' },
  ]);
  assert.deepEqual([countOf(heard, 'statuses'), countOf(heard, 'listing'), countOf(heard, 'mark')], [1, 1, 1]);
  hub.client.sendUsed(['k1', 'k2']);
  hub.client.sendUsed(['k1']);
  await hub.client.stop(hub.kernel.deadline(1000));
  await until(() => countOf(heard, 'gone') === 1, 'the end');
  assert.deepEqual(
    heard.words.find(([name]) => name === 'used'),
    ['used', ['k1', 'k2']],
  );
});

test('a hub finds control again, and tells again what control is not known to have', async (t) => {
  const path = await folder(t);
  const hub = hubOn(t, path);
  await hub.client.start(hub.kernel.deadline(1000));
  for (const name of ['kept', 'lost', 'gone']) hub.client.sendListing(listing(name, 'd1'));
  hub.client.sendMark({ id: 'kept', atMs: 1, wishes: undefined });
  hub.client.sendMark({ id: 'lost', atMs: 1, wishes: undefined });
  hub.client.sendStatuses([]);

  const first = heardNothing();
  const before = serverOn(t, path, first);
  await before.start(hub.kernel.deadline(1000));
  await until(() => countOf(first, 'mark') === 2 && countOf(first, 'listing') === 3, 'what waited');
  before.tellMarks([{ id: 'kept', atMs: 1, wishes: undefined }]);
  before.publish(world(1, { servers: [spec('kept'), spec('lost')], listings: [listing('kept', 'd1')] }));
  await until(() => hub.snapshots.length === 1, 'the world');
  await before.stop(hub.kernel.deadline(1000));
  await until(() => !hub.client.connected, 'the loss');

  const second = heardNothing();
  await serverOn(t, path, second).start(hub.kernel.deadline(1000));
  await until(() => countOf(second, 'mark') === 1 && countOf(second, 'statuses') === 1, 'what was lost');
  assert.deepEqual(
    second.words.filter(([name]) => name === 'listing').map((word) => (word[2] as Listing).server),
    ['lost'],
  );
  assert.deepEqual(
    second.words.find(([name]) => name === 'mark'),
    ['mark', { id: 'lost', atMs: 1, wishes: undefined }],
  );
  assert.deepEqual(second.words[0], ['hello', 1, process.pid, 1]);
  const planes = hub.facts.filter((fact) => fact.type === 'control-lost' || fact.type === 'control-found');
  assert.deepEqual(
    planes.map((fact) => fact.type),
    ['control-found', 'control-lost', 'control-found'],
  );
});

test('a backlog larger than the socket takes is told in full', async (t) => {
  const path = await folder(t);
  const hub = hubOn(t, path);
  for (let at = 0; at < 300; at += 1) {
    hub.client.sendListing({ ...listing(`s${at}`, 'd'), instructions: 'x'.repeat(20_000) });
    for (let more = 0; more < 50; more += 1) hub.client.sendMark({ id: `t${at}-${more}`, atMs: 1, wishes: undefined });
  }
  await hub.client.start(hub.kernel.deadline(1000));
  const heard = heardNothing();
  await serverOn(t, path, heard).start(hub.kernel.deadline(1000));
  await until(() => countOf(heard, 'mark') === 15_000, 'the backlog');
  assert.equal(countOf(heard, 'listing'), 300);
});

test('facts that nobody takes are dropped oldest first, and counted', async (t) => {
  const path = await folder(t);
  const hub = hubOn(t, path, { factsQueue: 100 });
  await hub.client.start(hub.kernel.deadline(1000));
  for (let at = 0; at < 130; at += 1) hub.client.sendFact({ type: 'task-stuck', task: String(at) });
  await until(() => hub.facts.some((fact) => fact.type === 'facts-dropped'), 'the count');
  const dropped = hub.facts.find((fact) => fact.type === 'facts-dropped');
  assert.equal(dropped?.type === 'facts-dropped' && dropped.count, 30);
  const heard = heardNothing();
  await serverOn(t, path, heard).start(hub.kernel.deadline(1000));
  await until(() => countOf(heard, 'facts') > 0, 'the rest');
  const facts = heard.words.filter(([name]) => name === 'facts').flatMap((word) => word[2] as { task: string }[]);
  assert.deepEqual([facts.length, facts[0]?.task, facts.at(-1)?.task], [100, '30', '129']);
});

test('a control that takes connections and reads nothing costs a hub a bounded queue', async (t) => {
  const path = await folder(t);
  const deaf = createServer((socket) => void socket.pause()).listen(path);
  await once(deaf, 'listening');
  const hub = hubOn(t, path, { factsQueue: 200 });
  t.after(() => deaf.close());
  await hub.client.start(hub.kernel.deadline(1000));
  await until(() => hub.client.connected, 'the connection');
  const line = 'x'.repeat(20_000);
  const dropped = () => hub.facts.reduce((sum, fact) => (fact.type === 'facts-dropped' ? sum + fact.count : sum), 0);
  let sent = 0;
  await until(() => {
    for (let at = 0; at < 20; at += 1) hub.client.sendFact({ type: 'server-said', server: 's', line });
    sent += 20;
    return dropped() > 1000;
  }, 'the count');
  // What left the queue went into the socket: one batch above the mark at which facts wait, and what the kernel took.
  assert.ok((sent - dropped() - 200) * 20_000 < 4_000_000, `${sent - dropped()} of ${sent} were kept`);
});

async function raw(t: TestContext, path: string): Promise<Socket> {
  const socket = connect(path);
  socket.on('error', () => {});
  t.after(() => void socket.destroy());
  await once(socket, 'connect');
  return socket;
}

/** About 2 MB. */
function longListing(server: string, digest: string): Listing {
  const json = digest.padEnd(1000, 'x');
  const row = (native: string) => ({ native, json, title: native, repaired: undefined, dropStructured: false });
  return { ...listing(server, digest), tools: Array.from({ length: 2000 }, (_, at) => row(`t${at}`)) };
}

const given = (server: string, native: string) => ({ kind: 'tool' as const, exposed: native, server, native, age: 0 });

/** What a worker is sent, as bytes: each line's length and word. */
async function wordsTo(t: TestContext, path: string, hello: object) {
  const socket = await raw(t, path);
  const words: { t: string; server?: string; bytes: number }[] = [];
  let rest = '';
  socket.on('data', (chunk) => {
    const lines = (rest + chunk.toString('latin1')).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) words.push({ ...JSON.parse(line), bytes: line.length });
  });
  socket.write(`${JSON.stringify({ t: 'hello', slot: 7, pid: 1, revision: 0, life: 1, ...hello })}\n`);
  const takes = (): string[] => words.splice(0).map(({ t: word, server = '' }) => `${word} ${server}`.trim());
  return { socket, words, takes };
}

test('a worker is sent a long list in lines of bounded size, and later only what has changed', async (t) => {
  const path = await folder(t);
  const server = serverOn(t, path, heardNothing());
  const kernel = createKernel();
  await server.start(kernel.deadline(1000));
  const servers = [spec('a'), spec('b'), spec('c')];
  const [a, b] = [longListing('a', 'a1'), listing('b', 'b1')];
  const c = listing('c', 'c1');
  const names = [given('a', 't1')];
  server.publish(world(1, { servers, listings: [a, b, c], names }));
  const { words, takes } = await wordsTo(t, path, { lists: { c: 'c1' } });
  const ends = (): number => words.filter(({ t: word }) => word === 'catalog').length;
  await until(() => ends() === 3, 'all lists');
  assert.ok(words.length > 15 && words.every(({ bytes }) => bytes < 140_000), `${words.map(({ bytes }) => bytes)}`);
  const sent = takes();
  assert.deepEqual([sent[0], ...new Set(sent.slice(1))], ['world', 'rows a', 'catalog a', 'catalog b', 'catalog c']);
  server.publish(world(2, { servers, listings: [a, listing('b', 'b2'), c], names }));
  await until(() => ends() === 1, 'the changed list');
  assert.deepEqual(takes(), ['world', 'catalog b']);
  server.publish(world(3, { servers, listings: [{ ...a, atMs: 9 }, listing('b', 'b2'), c], names: [] }));
  await until(() => ends() === 1, 'the names');
  assert.deepEqual(takes(), ['world', 'catalog a'], 'names change without the rows of the list');
});

test('a snapshot without its lists passes a long list that is on its way, and the list counts when it is whole', async (t) => {
  const path = await folder(t);
  const server = serverOn(t, path, heardNothing());
  const hub = hubOn(t, path);
  await server.start(hub.kernel.deadline(1000));
  const servers = [spec('a')];
  server.publish(world(1, { servers, listings: [listing('a', 'a1')] }));
  await hub.client.start(hub.kernel.deadline(1000));
  await until(() => hub.snapshots.length === 1, 'the first snapshot');
  const { words } = await wordsTo(t, path, {});
  await until(() => words.some(({ t: word }) => word === 'catalog'), 'the first list');
  server.publish(world(2, { servers, listings: [longListing('a', 'a2')] }));
  await until(() => words.some(({ t: word }) => word === 'rows'), 'the first rows');
  server.publish(world(3, { servers, listings: [longListing('a', 'a2')], limits: { port: 1 } }));
  await until(() => words.filter(({ t: word }) => word === 'catalog').length === 2, 'the list');
  const order = words.map(({ t: word }) => word);
  assert.ok(order.lastIndexOf('world') < order.lastIndexOf('rows'), order.join(' '));
  await until(() => hub.snapshots.at(-1)?.listings[0]?.digest === 'a2', 'the list at the hub');
  for (const { listings } of hub.snapshots) {
    const [one] = listings;
    assert.equal(one?.tools.length, one?.digest === 'a2' ? 2000 : 0);
  }
});

test('a hub is not sent back the list that it told, but its names', async (t) => {
  const path = await folder(t);
  const heard = heardNothing();
  const server = serverOn(t, path, heard);
  const hub = hubOn(t, path);
  await server.start(hub.kernel.deadline(1000));
  await hub.client.start(hub.kernel.deadline(1000));
  const mine = longListing('a', 'a1');
  hub.client.sendListing(mine);
  await until(() => countOf(heard, 'listing') === 1, 'the listing');
  const told = heard.words.find(([word]) => word === 'listing')?.[2] as Listing;
  assert.equal(JSON.stringify(told.tools), JSON.stringify(mine.tools));
  server.publish(world(1, { servers: [spec('a')], listings: [told], names: [given('a', 't1')] }));
  await until(() => hub.snapshots.length === 1, 'the snapshot');
  assert.equal(hub.snapshots[0]?.listings[0]?.tools, mine.tools, 'the same rows, not a copy that came back');
  assert.equal(hub.snapshots[0]?.names.length, 1);
});

test('a hub that reads nothing for 5 s is cut, and the others get theirs', async (t) => {
  const path = await folder(t);
  const heard = heardNothing();
  const server = serverOn(t, path, heard);
  const hub = hubOn(t, path);
  await server.start(hub.kernel.deadline(1000));
  await hub.client.start(hub.kernel.deadline(1000));
  const deaf = await raw(t, path);
  deaf.pause();
  deaf.write(`${JSON.stringify({ t: 'hello', slot: 2, pid: 1, revision: 0, life: 1 })}\n`);
  await until(() => countOf(heard, 'hello') === 2, 'two hubs');
  for (let revision = 1; revision <= 5; revision += 1) {
    server.publish(world(revision, { servers: [spec('s')], listings: [longListing('s', `d${revision}`)] }));
    await until(() => hub.snapshots.at(-1)?.listings[0]?.digest === `d${revision}`, `list ${revision}`);
  }
  await until(() => countOf(heard, 'gone') === 1, 'the cut', 9000);
  assert.deepEqual(
    heard.words.find(([name]) => name === 'gone'),
    ['gone', 2],
  );
  assert.equal(hub.client.connected, true);
});

test('who says nonsense, or no hello, or too much, is cut alone', async (t) => {
  const path = await folder(t);
  const heard = heardNothing();
  const server = serverOn(t, path, heard);
  const hub = hubOn(t, path);
  await server.start(hub.kernel.deadline(1000));
  await hub.client.start(hub.kernel.deadline(1000));
  for (const said of ['nonsense\n', '{"t":"used","keyIds":[]}\n', '[]\n']) {
    const socket = await raw(t, path);
    socket.write(said);
    await once(socket.resume(), 'close');
  }
  assert.equal(countOf(heard, 'used'), 0);
  server.publish(world(1));
  await until(() => hub.snapshots.length === 1, 'the world');
});

// finding: SR-H3
test('lists that do not fit in snapshotBytes are left out and named, the largest first', async (t) => {
  const path = await folder(t);
  const kernel = createKernel();
  const ears = { ...({} as Parameters<typeof createRelayServer>[0]['ears']) };
  const small = createRelayServer({
    kernel,
    limits: limitsFrom({ snapshotBytes: 1024 * 1024 }),
    socketPath: path,
    ears,
  });
  const listings = [300, 1_100_000, 500_000, 400_000].map((bytes, at) => ({
    ...listing(`s${at}`, 'd'),
    instructions: 'x'.repeat(bytes),
  }));
  const leftOut = small.publish(world(1, { listings }));
  assert.deepEqual(
    leftOut.map(({ server }) => server),
    ['s1'],
  );
  const servers = Array.from({ length: 20 }, (_, at) => ({ slug: `${at}`.repeat(60_000) })) as unknown as ServerSpec[];
  assert.throws(() => small.publish(world(2, { servers })), { code: 'store-failed' });
});
