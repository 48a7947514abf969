/**
 * Streams, pipelined requests and batches of one key: a worker survives them, and other keys find a place.
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { type RunningHub, startHub, statusOf, until } from '../support/hub.ts';
import { scaled } from '../support/measured.ts';
import { RawConnection, requestBytes } from '../support/raw-connection.ts';

/** In the long form those of the defaults. */
const STREAMS = scaled({ ci: 16, long: 10_000 });
const SHARE = scaled({ ci: 12, long: 5000 });
const SURPLUS = 8;
const AT_ONCE = 200;
let hub: RunningHub;

before(async () => {
  hub = await startHub({
    config: { mcpServers: {} },
    env: { MCPHUB_STREAMS: String(STREAMS), MCPHUB_STREAMS_PER_KEY: String(SHARE) },
  });
});
after(async () => {
  await hub[Symbol.asyncDispose]();
});

/** Creates another key; returns its Authorization header. */
async function anotherKey(name: string): Promise<{ authorization: string }> {
  const made = await fetch(`${hub.url}/api/keys`, {
    method: 'POST',
    headers: { ...auth(), 'content-type': 'application/json' },
    body: JSON.stringify({ user: name, name }),
  });
  assert.equal(made.status, 201);
  return { authorization: `Bearer ${((await made.json()) as { secret: string }).secret}` };
}

/**
 * Opens streams of one key, each with its answer: 200 or 429. Not all at once: the supervisor hands over a bounded
 * number of new connections.
 */
async function openStreams(count: number): Promise<RawConnection[]> {
  const clients: RawConnection[] = [];
  while (clients.length < count) {
    const some = Array.from({ length: Math.min(AT_ONCE, count - clients.length) }, () => new RawConnection(hub.port));
    clients.push(...some);
    for (const client of some) client.send(requestBytes('GET /sse', auth()));
    for (const client of some) await client.has(/^HTTP\/1\.1 (200|429) /);
  }
  return clients;
}

const auth = () => ({ authorization: `Bearer ${hub.key}` });
const workers = () => hub.processes().hub?.join(' ');

/** Open places by their name on the page of limits. */
async function placesTaken(name: string): Promise<number> {
  const answer = await fetch(`${hub.url}/api/ceilings`, { headers: auth() });
  const { ceilings } = (await answer.json()) as { ceilings: { name: string; size: number }[] };
  return ceilings.find((row) => row.name === name)?.size ?? 0;
}

// SR-H1: the stream that did not fit listened to its response, and its close ended the process.
// finding: SR-H1
test('refuses the stream that does not fit, and the worker goes on when its client leaves', async () => {
  const before = workers();
  const clients = await openStreams(SHARE + SURPLUS);
  assert.equal(clients.filter(({ statuses }) => statuses[0] === 429).length, SURPLUS);
  for (const client of clients) client.close();
  await until(async () => (await placesTaken('downstream.streams')) === 0, 5000, 'the places to be free again');
  assert.equal(workers(), before);
  assert.equal(await statusOf(`${hub.url}/health`), 200);
});

// finding: SR-H1
test('pipelined GET requests behind an open stream open no second stream', async () => {
  const before = workers();
  using client = new RawConnection(hub.port);
  client.send(...Array.from({ length: 400 }, () => requestBytes('GET /sse', auth())));
  await client.closed();
  assert.ok(client.statuses.length <= 1, client.statuses.join(' '));
  await until(async () => (await placesTaken('downstream.streams')) === 0, 5000, 'the places to be free again');
  assert.equal(workers(), before);
});

// finding: SR-H1
test('answers pipelined requests one after another, in their order', async () => {
  using client = new RawConnection(hub.port);
  const ping = (id: number) =>
    requestBytes(
      'POST /mcp',
      { ...auth(), 'content-type': 'application/json' },
      JSON.stringify({ jsonrpc: '2.0', id, method: 'ping' }),
    );
  client.send(...[1, 2, 3, 4, 5].map(ping), requestBytes('GET /health'));
  await client.has(/"id":5.*"status"/s);
  assert.deepEqual(client.statuses, [200, 200, 200, 200, 200, 200]);
  assert.deepEqual(
    [...client.text.matchAll(/"id":(\d)/g)].map(([, id]) => id),
    ['1', '2', '3', '4', '5'],
  );
});

// finding: SR-L10
test('writes nothing into a stream when its client sends what is not HTTP', async () => {
  using client = new RawConnection(hub.port);
  client.send(requestBytes('GET /sse', auth()));
  await client.has(/event: endpoint/);
  client.send('not http at all\r\n\r\n');
  await client.closed();
  assert.deepEqual(client.statuses, [200]);
});

// finding: SR-M2
test('a key that has taken its share of streams leaves places for another key', async () => {
  const member = await anotherKey('member');
  const greedy = await openStreams(SHARE + 1);
  using client = new RawConnection(hub.port);
  client.send(requestBytes('GET /sse', member));
  await client.has(/event: endpoint/);
  for (const one of greedy) one.close();
  await until(async () => (await placesTaken('downstream.streams')) <= 1, 5000, 'the places to be free again');
});

// SR-N2: each initialize on one stream took a place for it, and only the last one was given back.
// finding: SR-N2
test('refuses a second initialize on one /sse stream, and every place is free after its client has left', async () => {
  using client = new RawConnection(hub.port);
  client.send(requestBytes('GET /sse', auth()));
  await client.has(/data: \S+/);
  const path = /data: (\S+)/.exec(client.text)?.[1] ?? '';
  for (let id = 1; id <= 20; id += 1) {
    const params = { protocolVersion: '2024-11-05', capabilities: {}, clientInfo: { name: 'c', version: '1' } };
    const posted = await fetch(new URL(path, `${hub.url}/sse`), {
      method: 'POST',
      headers: { ...auth(), 'content-type': 'application/json' },
      body: JSON.stringify({ jsonrpc: '2.0', id, method: 'initialize', params }),
    });
    assert.equal(posted.status, 202);
  }
  await client.has(/"id":20/);
  assert.equal(client.text.match(/"result":/g)?.length, 1);
  assert.equal(client.text.match(/"error":/g)?.length, 19);
  assert.equal(await placesTaken('session.streams'), 1);
  client.close();
  await until(async () => (await placesTaken('session.streams')) === 0, 5000, 'the place to be free again');
});
