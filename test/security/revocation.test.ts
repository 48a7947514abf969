/**
 * A key that is revoked, expires or is narrowed loses everything that is open for it, on every worker.
 * Short form by default; `MCPHUB_TEST_REVOCATIONS=200` runs the long one.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { startEverythingHttp } from '../conformance/everything-http.ts';
import { type RunningHub, startHub, until } from '../support/hub.ts';
import { askHub } from '../support/load.ts';
import { rpc } from '../support/mcp.ts';
import { type OpenThing, openAll, sentTimes } from '../support/open-access.ts';
import { faultServer } from '../support/real-servers.ts';
import { NEW_KEYS_ENV } from '../support/sse-client.ts';

const ROUNDS = Number(process.env.MCPHUB_TEST_REVOCATIONS ?? 3);
const END_MS = 1000;

async function start(workers: number, env: Record<string, string> = {}) {
  const asking = await startEverythingHttp();
  const hub = await startHub({
    config: {
      mcpServers: {
        clock: faultServer('updates'),
        plain: faultServer('normal'),
        asking: { url: asking.url, interactive: true },
      },
    },
    args: ['--hubs', String(workers)],
    env: { ...NEW_KEYS_ENV, ...env },
  });
  await until(async () => (await toolCount(hub)) > 10, 30_000, 'the tools of all servers');
  return { asking, hub };
}

async function toolCount(hub: RunningHub): Promise<number> {
  const { json } = await rpc(`${hub.url}/mcp`, 'tools/list', {}, { key: hub.key });
  const names = (json?.result?.tools ?? []).map(({ name }: { name: string }) => name.split('_')[0]);
  return new Set(names).size === 3 ? names.length : 0;
}

async function api(hub: RunningHub, method: string, path: string, body?: object) {
  const answer = await fetch(`${hub.url}${path}`, {
    method,
    headers: { authorization: `Bearer ${hub.key}`, 'content-type': 'application/json' },
    ...(body ? { body: JSON.stringify(body) } : {}),
  });
  // biome-ignore lint/suspicious/noExplicitAny: answers are looked into by the test
  return { status: answer.status, json: (await answer.json()) as any };
}

/** How much a container holds on all workers together. */
async function heldBy(hub: RunningHub, workers: number, name: string): Promise<number> {
  let sum = 0;
  for (let slot = 1; slot <= workers; slot += 1) {
    const { ceilings } = await askHub(hub, '/api/ceilings', slot);
    for (const row of ceilings) if (row.name === name) sum += row.size;
  }
  return sum;
}

async function allEnded(things: readonly OpenThing[], sinceMs: number): Promise<void> {
  await until(() => things.every(({ endedMs }) => endedMs !== undefined), 5000, 'the end of everything').catch(
    () => {},
  );
  const late = things
    .filter(({ endedMs }) => endedMs === undefined || endedMs - sinceMs > END_MS)
    .map(({ kind, endedMs }) => `${kind}: ${endedMs === undefined ? 'open' : Math.round(endedMs - sinceMs)}`);
  for (const { reading } of things) reading.drop();
  assert.deepEqual(late, [], 'ended within a second');
}

for (const workers of [1, 3]) {
  describe(`with ${workers} worker(s), a revoked key`, { timeout: 60_000 + ROUNDS * 10_000 }, () => {
    test(`loses calls, streams, suspended calls and session connections within ${END_MS} ms, and hears nothing afterwards`, async () => {
      const { asking, hub } = await start(workers);
      await using _hub = hub;
      await using _asking = { [Symbol.asyncDispose]: () => asking.close() };
      for (let round = 0; round < ROUNDS; round += 1) {
        const made = await api(hub, 'POST', '/api/keys', { user: `user-${round}`, name: 'test' });
        assert.deepEqual([made.status, made.json.confirmed, made.json.unconfirmed], [201, true, []]);
        const key: string = made.json.secret;
        const known = await Promise.all(
          Array.from({ length: 2 * workers }, () => rpc(`${hub.url}/mcp`, 'ping', {}, { key })),
        );
        assert.deepEqual(
          known.filter(({ status }) => status !== 200),
          [],
          'the new key works at once on every worker',
        );
        const things = await openAll(hub, key, workers);
        const bornMs = performance.now();
        const gone = await api(hub, 'DELETE', `/api/keys/${key.slice(0, 15)}`);
        assert.deepEqual([gone.status, gone.json.confirmed], [200, true]);
        const revokedAtMs = Date.now();
        await allEnded(things, bornMs);
        for (const thing of things)
          assert.deepEqual(
            sentTimes(thing).filter((sentMs) => sentMs > revokedAtMs),
            [],
            `late on ${thing.kind}`,
          );
        for (const kind of ['waiting call', 'call with a stream', 'call of 2026-07-28', 'subscriptions/listen'])
          assert.match(things.find((one) => one.kind === kind)?.reading.received ?? '', /key-revoked/, kind);
        const again = await rpc(`${hub.url}/mcp`, 'ping', {}, { key });
        assert.equal(again.status, 401);
        for (const name of ['kernel.open-work', 'call.parked', 'upstream.lanes', 'session.tracks'])
          await until(async () => (await heldBy(hub, workers, name)) === 0, 2000, `${name} is empty`);
      }
    });
  });
}
