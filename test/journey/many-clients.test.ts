/**
 * The load of the incident: 70 clients, each with its session and its GET stream, calling for a minute, with a burst in
 * the middle.
 */
// runs: about 85 s
// covers: A3, P3
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { delay, type RunningHub, startHub, tryKill, until } from '../support/hub.ts';
import { type Answer, askHub, Client, isResult, stdioServer } from '../support/load.ts';

const CLIENTS = 70;
const RUN_MS = 60_000;
const WARM_MS = 8000;
/** Calls of each client at the same time; all clients have one key, which may have 256 in flight. */
const BURST = 3;
/** Each client's rest between two calls, ms: 1 to 2 calls a second. */
const REST_MS = [500, 1000] as const;
const HEAP_GROWTH = 1.1;
const RSS_GROWTH = 1.3;
/**
 * Resident memory also holds what the kernel has taken back before and gives again, and a young generation of up to
 * 48 MiB.
 */
const RSS_SLACK_BYTES = 64 * 1024 * 1024;
const ENV = { NODE_ENV: 'test', MCPHUB_FAULT_HOOKS: '1' };

interface Figures {
  readonly rssBytes: number;
  readonly heapBytes: number;
}

/** After a collection: the smallest of a few looks, for what is in flight comes and goes. */
async function figures(hub: RunningHub): Promise<Figures> {
  const seen: Figures[] = [];
  for (let look = 0; look < 3; look += 1) {
    for (const pid of hub.processes().hub ?? []) tryKill(pid, 'SIGURG');
    await delay(1200);
    seen.push((await askHub(hub, '/api/health')).process);
  }
  return {
    rssBytes: Math.min(...seen.map((one) => one.rssBytes)),
    heapBytes: Math.min(...seen.map((one) => one.heapBytes)),
  };
}

async function callFor(client: Client, ms: number, answers: Answer[]): Promise<void> {
  const endMs = performance.now() + ms;
  while (performance.now() < endMs) {
    const even = answers.length % 2 === 0;
    answers.push(await client.call(even ? 'one_echo' : 'two_add', even ? { text: 'hello' } : { a: 2, b: 3 }));
    await delay(REST_MS[0] + Math.random() * (REST_MS[1] - REST_MS[0]));
  }
}

function burst(client: Client): Promise<Answer[]> {
  return Promise.all(
    Array.from({ length: BURST }, (_, at) => (at % 5 ? client.call('one_echo', { text: 'b' }) : client.list())),
  );
}

test('70 clients for a minute: every request is answered, no session is lost, memory stays', {
  timeout: 240_000,
}, async () => {
  await using hub = await startHub({ config: { mcpServers: { one: stdioServer(), two: stdioServer() } }, env: ENV });
  const clients = Array.from({ length: CLIENTS }, () => new Client(hub, BURST));
  const [first = new Client(hub)] = clients;
  await until(
    async () => isResult(await first.call('one_echo')) && isResult(await first.call('two_add')),
    60_000,
    'both servers',
  );
  await Promise.all(clients.map((client) => client.open()));
  assert.deepEqual(new Set(await Promise.all(clients.map((client) => client.listen()))), new Set([200]));

  const warm: Answer[] = [];
  await Promise.all(clients.map((client) => callFor(client, WARM_MS, warm)));
  warm.push(...(await Promise.all(clients.map(burst))).flat());
  assert.ok(warm.every(isResult));
  const before = await figures(hub);

  const answers: Answer[] = [];
  await Promise.all(clients.map((client) => callFor(client, RUN_MS / 2, answers)));
  answers.push(...(await Promise.all(clients.map(burst))).flat());
  await Promise.all(clients.map((client) => callFor(client, RUN_MS / 2, answers)));

  const failed = answers.filter((answer) => !isResult(answer));
  assert.deepEqual(failed.slice(0, 5), [], `${failed.length} of ${answers.length} requests`);
  assert.ok(answers.length >= CLIENTS * BURST + CLIENTS * 20, `${answers.length} requests`);
  for (const client of clients) {
    assert.equal(client.ended, 0, 'its stream is open');
    // One at the opening, then at least one each 15 s.
    assert.ok(client.comments >= 4, `${client.comments} keep-alives in a minute`);
  }
  const sessions = (await askHub(hub, '/api/health')).counts;
  assert.equal(sessions.sessions, CLIENTS);
  assert.equal(sessions.streams, CLIENTS);
  const after = await figures(hub);
  assert.ok(after.heapBytes <= before.heapBytes * HEAP_GROWTH, `heap ${before.heapBytes} → ${after.heapBytes}`);
  const mostBytes = Math.max(before.rssBytes * RSS_GROWTH, before.rssBytes + RSS_SLACK_BYTES);
  assert.ok(after.rssBytes <= mostBytes, `rss ${before.rssBytes} → ${after.rssBytes}`);
  for (const client of clients) client.close();
  await until(async () => (await askHub(hub, '/api/health')).counts.streams === 0, 10_000, 'the end of the streams');
  assert.equal(await hub.stop(), 0);
  assert.deepEqual(hub.descendants(), []);
});
