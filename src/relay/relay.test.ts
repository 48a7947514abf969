import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, rm, stat } from 'node:fs/promises';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { limitsFrom } from '../config/limits.ts';
import type { HubEvent } from '../model/events.ts';
import { EMPTY_SNAPSHOT, type Listing, type ServerSpec, type Snapshot, wholeListing } from '../model/snapshot.ts';
import { createRuntime, type Runtime } from '../runtime/runtime.ts';
import { RelayClient } from './relay-client.ts';
import type { SessionRecord } from './relay-messages.ts';
import { RelayServer } from './relay-server.ts';

const limits = limitsFrom({});

interface Received {
  readonly messages: unknown[][];
  readonly records: SessionRecord[];
}

async function folder(t: TestContext): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'mcphub-relay-'));
  t.after(() => rm(dir, { recursive: true, force: true }));
  return join(dir, 'relay.sock');
}

function serverOn(
  t: TestContext,
  socketPath: string,
  received: Received,
  runtime: Runtime = createRuntime(),
): RelayServer {
  const note =
    (message: string) =>
    (...rest: unknown[]) =>
      void received.messages.push([message, ...rest]);
  const handlers = {
    workerConnected: note('hello'),
    workerDisconnected: note('disconnected'),
    listingReceived: note('listing'),
    factsReceived: note('facts'),
    sessionRecordReceived: note('record'),
    statusesReceived: note('statuses'),
    keysUsed: note('used'),
    sessionRecords: () => received.records,
  };
  const server = new RelayServer({ runtime, limits, socketPath, handlers });
  t.after(() => server.stop(runtime.deadline(500)));
  return server;
}

interface ClientSide {
  readonly runtime: Runtime;
  readonly client: RelayClient;
  readonly snapshots: Snapshot[];
  readonly records: SessionRecord[];
  readonly facts: HubEvent[];
}

function clientOn(t: TestContext, socketPath: string, values: Record<string, number> = {}): ClientSide {
  const runtime = createRuntime();
  const side = { runtime, snapshots: [] as Snapshot[], records: [] as SessionRecord[], facts: [] as HubEvent[] };
  runtime.bus.listen((fact) => side.facts.push(fact));
  const client = new RelayClient({
    runtime,
    limits: limitsFrom(values),
    socketPath,
    slot: 1,
    life: 1,
    onSnapshot: (snapshot) => side.snapshots.push(snapshot),
    onSessionRecords: (records) => side.records.push(...records),
  });
  t.after(() => client.stop(runtime.deadline(500)));
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

const noMessages = (): Received => ({ messages: [], records: [] });
const spec = (slug: string) => ({ slug, name: slug }) as ServerSpec;
const snapshot = (revision: number, more: Partial<Snapshot> = {}): Snapshot => ({
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
const count = (received: Received, message: string) => received.messages.filter(([name]) => name === message).length;

test('a worker receives the snapshot and tombstones when it connects, and each change after that', async (t) => {
  const path = await folder(t);
  const received: Received = { messages: [], records: [{ id: 'old', atMs: 1, wishes: undefined }] };
  const server = serverOn(t, path, received);
  const worker = clientOn(t, path);
  await server.start(worker.runtime.deadline(1000));
  assert.equal((await stat(path)).mode & 0o777, 0o600);
  server.publish(snapshot(3));
  await worker.client.start(worker.runtime.deadline(1000));
  await until(() => worker.snapshots.length === 1, 'the first snapshot');
  server.publish(snapshot(4));
  server.sendSessionRecords([{ id: 'new', atMs: 2, wishes: undefined }]);
  await until(() => worker.snapshots.length === 2 && worker.records.length === 2, 'the change');
  assert.deepEqual(
    worker.snapshots.map(({ revision }) => revision),
    [3, 4],
  );
  assert.deepEqual(received.messages[0], ['hello', 1, process.pid, 0]);
  assert.equal(worker.client.connected, true);
});

test('delivers what a worker sends; errors arrive as their message only', async (t) => {
  const path = await folder(t);
  const received = noMessages();
  const server = serverOn(t, path, received);
  const worker = clientOn(t, path);
  await server.start(worker.runtime.deadline(1000));
  await worker.client.start(worker.runtime.deadline(1000));
  worker.client.sendStatuses([]);
  worker.client.sendListing(listing('s', 'd'));
  worker.client.sendSessionRecord({ id: 'x', atMs: 5, wishes: undefined });
  worker.client.sendFact({ type: 'task-faulted', task: 'a', fault: new Error('it broke', { cause: 'secret' }) });
  const circle: { self?: unknown } = {};
  circle.self = circle;
  worker.client.sendFact({ type: 'task-faulted', task: 'b', fault: circle });
  await until(() => count(received, 'facts') > 0, 'facts');
  const sent = received.messages.find(([name]) => name === 'facts')?.[2];
  assert.deepEqual(sent, [
    { type: 'task-faulted', task: 'a', fault: 'it broke' },
    { type: 'task-faulted', task: 'b', fault: '[object Object]' },
  ]);
  assert.deepEqual([count(received, 'statuses'), count(received, 'listing'), count(received, 'record')], [1, 1, 1]);
  worker.client.sendUsedKeys(['k1', 'k2']);
  worker.client.sendUsedKeys(['k1']);
  await worker.client.stop(worker.runtime.deadline(1000));
  await until(() => count(received, 'disconnected') === 1, 'the end');
  assert.deepEqual(
    received.messages.find(([name]) => name === 'used'),
    ['used', ['k1', 'k2']],
  );
});

test('reconnects, and sends again what control has not confirmed', async (t) => {
  const path = await folder(t);
  const worker = clientOn(t, path);
  await worker.client.start(worker.runtime.deadline(1000));
  for (const name of ['kept', 'lost', 'gone']) worker.client.sendListing(listing(name, 'd1'));
  worker.client.sendSessionRecord({ id: 'kept', atMs: 1, wishes: undefined });
  worker.client.sendSessionRecord({ id: 'lost', atMs: 1, wishes: undefined });
  worker.client.sendStatuses([]);

  const first = noMessages();
  const before = serverOn(t, path, first);
  await before.start(worker.runtime.deadline(1000));
  await until(() => count(first, 'record') === 2 && count(first, 'listing') === 3, 'what waited');
  before.sendSessionRecords([{ id: 'kept', atMs: 1, wishes: undefined }]);
  before.publish(snapshot(1, { servers: [spec('kept'), spec('lost')], listings: [listing('kept', 'd1')] }));
  await until(() => worker.snapshots.length === 1, 'the snapshot');
  await before.stop(worker.runtime.deadline(1000));
  await until(() => !worker.client.connected, 'the loss');

  const second = noMessages();
  await serverOn(t, path, second).start(worker.runtime.deadline(1000));
  await until(() => count(second, 'record') === 1 && count(second, 'statuses') === 1, 'what was lost');
  assert.deepEqual(
    second.messages.filter(([name]) => name === 'listing').map((message) => (message[2] as Listing).server),
    ['lost'],
  );
  assert.deepEqual(
    second.messages.find(([name]) => name === 'record'),
    ['record', { id: 'lost', atMs: 1, wishes: undefined }],
  );
  assert.deepEqual(second.messages[0], ['hello', 1, process.pid, 1]);
  const planes = worker.facts.filter((fact) => fact.type === 'control-lost' || fact.type === 'control-found');
  assert.deepEqual(
    planes.map((fact) => fact.type),
    ['control-found', 'control-lost', 'control-found'],
  );
});

test('sends all of a backlog that is larger than the socket buffer', async (t) => {
  const path = await folder(t);
  const worker = clientOn(t, path);
  for (let at = 0; at < 300; at += 1) {
    worker.client.sendListing({ ...listing(`s${at}`, 'd'), instructions: 'x'.repeat(20_000) });
    for (let more = 0; more < 50; more += 1)
      worker.client.sendSessionRecord({ id: `t${at}-${more}`, atMs: 1, wishes: undefined });
  }
  await worker.client.start(worker.runtime.deadline(1000));
  const received = noMessages();
  await serverOn(t, path, received).start(worker.runtime.deadline(1000));
  await until(() => count(received, 'record') === 15_000, 'the backlog');
  assert.equal(count(received, 'listing'), 300);
});

test('drops the oldest events while control is unavailable, and counts them', async (t) => {
  const path = await folder(t);
  const worker = clientOn(t, path, { factsQueue: 100 });
  await worker.client.start(worker.runtime.deadline(1000));
  for (let at = 0; at < 130; at += 1) worker.client.sendFact({ type: 'task-stuck', task: String(at) });
  await until(() => worker.facts.some((fact) => fact.type === 'facts-dropped'), 'the count');
  const dropped = worker.facts.find((fact) => fact.type === 'facts-dropped');
  assert.equal(dropped?.type === 'facts-dropped' && dropped.count, 30);
  const received = noMessages();
  await serverOn(t, path, received).start(worker.runtime.deadline(1000));
  await until(() => count(received, 'facts') > 0, 'the rest');
  const facts = received.messages
    .filter(([name]) => name === 'facts')
    .flatMap((message) => message[2] as { task: string }[]);
  assert.deepEqual([facts.length, facts[0]?.task, facts.at(-1)?.task], [100, '30', '129']);
});

test('limits the queue of a worker when control accepts connections and reads nothing', async (t) => {
  const path = await folder(t);
  const stalled = createServer((socket) => void socket.pause()).listen(path);
  await once(stalled, 'listening');
  const worker = clientOn(t, path, { factsQueue: 200 });
  t.after(() => stalled.close());
  await worker.client.start(worker.runtime.deadline(1000));
  await until(() => worker.client.connected, 'the connection');
  const line = 'x'.repeat(20_000);
  const dropped = () => worker.facts.reduce((sum, fact) => (fact.type === 'facts-dropped' ? sum + fact.count : sum), 0);
  let sent = 0;
  await until(() => {
    for (let at = 0; at < 20; at += 1) worker.client.sendFact({ type: 'server-said', server: 's', line });
    sent += 20;
    return dropped() > 1000;
  }, 'the count');
  // Events that left the queue are in the socket: one line above the limit, and the buffer of the operating system.
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

const name = (server: string, native: string) => ({ kind: 'tool' as const, exposed: native, server, native, age: 0 });

/** Connects as a worker and records the messages it receives, with the length of their lines. */
async function messagesTo(t: TestContext, path: string, hello: object) {
  const socket = await raw(t, path);
  const messages: { t: string; server?: string; bytes: number }[] = [];
  let rest = '';
  socket.on('data', (chunk) => {
    const lines = (rest + chunk.toString('latin1')).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) messages.push({ ...JSON.parse(line), bytes: line.length });
  });
  socket.write(`${JSON.stringify({ t: 'hello', slot: 7, pid: 1, revision: 0, life: 1, ...hello })}\n`);
  const takeMessages = (): string[] =>
    messages.splice(0).map(({ t: message, server = '' }) => `${message} ${server}`.trim());
  return { socket, messages, takeMessages };
}

test('sends a long list in lines of limited size, and later only what has changed', async (t) => {
  const path = await folder(t);
  const server = serverOn(t, path, noMessages());
  const runtime = createRuntime();
  await server.start(runtime.deadline(1000));
  const servers = [spec('a'), spec('b'), spec('c')];
  const [a, b] = [longListing('a', 'a1'), listing('b', 'b1')];
  const c = listing('c', 'c1');
  const names = [name('a', 't1')];
  server.publish(snapshot(1, { servers, listings: [a, b, c], names }));
  const { messages, takeMessages } = await messagesTo(t, path, { lists: { c: 'c1' } });
  const ends = (): number => messages.filter(({ t: message }) => message === 'catalog').length;
  await until(() => ends() === 3, 'all lists');
  assert.ok(
    messages.length > 15 && messages.every(({ bytes }) => bytes < 140_000),
    `${messages.map(({ bytes }) => bytes)}`,
  );
  const sent = takeMessages();
  assert.deepEqual([sent[0], ...new Set(sent.slice(1))], ['world', 'rows a', 'catalog a', 'catalog b', 'catalog c']);
  server.publish(snapshot(2, { servers, listings: [a, listing('b', 'b2'), c], names }));
  await until(() => ends() === 1, 'the changed list');
  assert.deepEqual(takeMessages(), ['world', 'catalog b']);
  server.publish(snapshot(3, { servers, listings: [{ ...a, atMs: 9 }, listing('b', 'b2'), c], names: [] }));
  await until(() => ends() === 1, 'the names');
  assert.deepEqual(takeMessages(), ['world', 'catalog a'], 'names change without the rows of the list');
});

test('a new snapshot head overtakes a long list in transit; the list is applied when it is complete', async (t) => {
  const path = await folder(t);
  const server = serverOn(t, path, noMessages());
  const worker = clientOn(t, path);
  await server.start(worker.runtime.deadline(1000));
  const servers = [spec('a')];
  server.publish(snapshot(1, { servers, listings: [listing('a', 'a1')] }));
  await worker.client.start(worker.runtime.deadline(1000));
  await until(() => worker.snapshots.length === 1, 'the first snapshot');
  const { messages } = await messagesTo(t, path, {});
  await until(() => messages.some(({ t: message }) => message === 'catalog'), 'the first list');
  server.publish(snapshot(2, { servers, listings: [longListing('a', 'a2')] }));
  await until(() => messages.some(({ t: message }) => message === 'rows'), 'the first rows');
  server.publish(snapshot(3, { servers, listings: [longListing('a', 'a2')], limits: { port: 1 } }));
  await until(() => messages.filter(({ t: message }) => message === 'catalog').length === 2, 'the list');
  const order = messages.map(({ t: message }) => message);
  assert.ok(order.lastIndexOf('world') < order.lastIndexOf('rows'), order.join(' '));
  await until(() => worker.snapshots.at(-1)?.listings[0]?.digest === 'a2', 'the list at the hub');
  for (const { listings } of worker.snapshots) {
    const [one] = listings;
    assert.equal(one?.tools.length, one?.digest === 'a2' ? 2000 : 0);
  }
});

test('does not send a listing back to its worker, only its names', async (t) => {
  const path = await folder(t);
  const received = noMessages();
  const server = serverOn(t, path, received);
  const worker = clientOn(t, path);
  await server.start(worker.runtime.deadline(1000));
  await worker.client.start(worker.runtime.deadline(1000));
  const mine = longListing('a', 'a1');
  worker.client.sendListing(mine);
  await until(() => count(received, 'listing') === 1, 'the listing');
  const sent = received.messages.find(([message]) => message === 'listing')?.[2] as Listing;
  assert.equal(JSON.stringify(sent.tools), JSON.stringify(mine.tools));
  server.publish(snapshot(1, { servers: [spec('a')], listings: [sent], names: [name('a', 't1')] }));
  await until(() => worker.snapshots.length === 1, 'the snapshot');
  assert.equal(worker.snapshots[0]?.listings[0]?.tools, mine.tools, 'the same rows, not a copy that came back');
  assert.equal(worker.snapshots[0]?.names.length, 1);
});

test('disconnects a worker that reads nothing for 5 s; the others receive their lists', async (t) => {
  const path = await folder(t);
  const received = noMessages();
  const server = serverOn(t, path, received);
  const worker = clientOn(t, path);
  await server.start(worker.runtime.deadline(1000));
  await worker.client.start(worker.runtime.deadline(1000));
  const stalled = await raw(t, path);
  stalled.pause();
  stalled.write(`${JSON.stringify({ t: 'hello', slot: 2, pid: 1, revision: 0, life: 1 })}\n`);
  await until(() => count(received, 'hello') === 2, 'two hubs');
  for (let revision = 1; revision <= 5; revision += 1) {
    server.publish(snapshot(revision, { servers: [spec('s')], listings: [longListing('s', `d${revision}`)] }));
    await until(() => worker.snapshots.at(-1)?.listings[0]?.digest === `d${revision}`, `list ${revision}`);
  }
  await until(() => count(received, 'disconnected') === 1, 'the cut', 9000);
  assert.deepEqual(
    received.messages.find(([name]) => name === 'disconnected'),
    ['disconnected', 2],
  );
  assert.equal(worker.client.connected, true);
});

test('disconnects only the connection that sends invalid lines or no hello', async (t) => {
  const path = await folder(t);
  const received = noMessages();
  const server = serverOn(t, path, received);
  const worker = clientOn(t, path);
  await server.start(worker.runtime.deadline(1000));
  await worker.client.start(worker.runtime.deadline(1000));
  for (const said of [
    'nonsense\n',
    '{"t":"used","keyIds":[]}\n',
    '[]\n',
    '{"t":"hello","pid":6,"revision":0,"life":1}\n',
    '{"t":"hello","slot":"1","pid":6,"revision":0,"life":1}\n',
    '{"t":"hello","slot":1,"revision":0,"life":1}\n',
  ]) {
    const socket = await raw(t, path);
    socket.write(said);
    await once(socket.resume(), 'close');
  }
  assert.deepEqual([count(received, 'used'), count(received, 'hello')], [0, 1]);
  server.publish(snapshot(1));
  await until(() => worker.snapshots.length === 1, 'the snapshot');
});

// finding: SR-H3
test('leaves out lists above snapshotBytes, the largest first, and returns them', async (t) => {
  const path = await folder(t);
  const runtime = createRuntime();
  const handlers = { ...({} as ConstructorParameters<typeof RelayServer>[0]['handlers']) };
  const small = new RelayServer({
    runtime,
    limits: limitsFrom({ snapshotBytes: 1024 * 1024 }),
    socketPath: path,
    handlers,
  });
  const listings = [300, 1_100_000, 500_000, 400_000].map((bytes, at) => ({
    ...listing(`s${at}`, 'd'),
    instructions: 'x'.repeat(bytes),
  }));
  const leftOut = small.publish(snapshot(1, { listings }));
  assert.deepEqual(
    leftOut.map(({ server }) => server),
    ['s1'],
  );
  const servers = Array.from({ length: 20 }, (_, at) => ({ slug: `${at}`.repeat(60_000) })) as unknown as ServerSpec[];
  assert.throws(() => small.publish(snapshot(2, { servers })), { code: 'store-failed' });
});
