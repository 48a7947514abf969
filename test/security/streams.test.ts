/**
 * Streams, pipelined requests and batches of one key: a worker survives them, and other keys find a place.
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { type RunningHub, startHub, statusOf, until } from '../support/hub.ts';
import { RawConnection, requestBytes } from '../support/raw-connection.ts';

const STREAMS = 16;
let hub: RunningHub;

before(async () => {
  hub = await startHub({ config: { mcpServers: {} }, env: { MCPHUB_STREAMS: String(STREAMS) } });
});
after(async () => {
  await hub[Symbol.asyncDispose]();
});

const auth = () => ({ authorization: `Bearer ${hub.key}` });
const workers = () => hub.processes().hub?.join(' ');

/** Open places by their name on the page of limits. */
async function placesTaken(name: string): Promise<number> {
  const answer = await fetch(`${hub.url}/api/ceilings`, { headers: auth() });
  const { ceilings } = (await answer.json()) as { ceilings: { name: string; size: number }[] };
  return ceilings.find((row) => row.name === name)?.size ?? 0;
}

// SR-H1: the stream that did not fit listened to its response, and its close ended the process.
test('refuses the stream that does not fit, and the worker goes on when its client leaves', async () => {
  const before = workers();
  const clients = Array.from({ length: STREAMS + 4 }, () => new RawConnection(hub.port));
  for (const client of clients) client.send(requestBytes('GET /sse', auth()));
  for (const client of clients) await client.has(/^HTTP\/1\.1 (200|503) /m);
  assert.equal(clients.filter(({ statuses }) => statuses[0] === 503).length, 4);
  for (const client of clients) client.close();
  await until(async () => (await placesTaken('downstream.streams')) === 0, 5000, 'the places to be free again');
  assert.equal(workers(), before);
  assert.equal(await statusOf(`${hub.url}/health`), 200);
});

test('pipelined GET requests behind an open stream open no second stream', async () => {
  const before = workers();
  using client = new RawConnection(hub.port);
  client.send(...Array.from({ length: 400 }, () => requestBytes('GET /sse', auth())));
  await client.closed();
  assert.ok(client.statuses.length <= 1, client.statuses.join(' '));
  await until(async () => (await placesTaken('downstream.streams')) === 0, 5000, 'the places to be free again');
  assert.equal(workers(), before);
});

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

// SR-L10
test('writes nothing into a stream when its client sends what is not HTTP', async () => {
  using client = new RawConnection(hub.port);
  client.send(requestBytes('GET /sse', auth()));
  await client.has(/event: endpoint/);
  client.send('not http at all\r\n\r\n');
  await client.closed();
  assert.deepEqual(client.statuses, [200]);
});
