/**
 * A hub with the servers that `open-access.ts` needs, keys made and revoked over its API, and the judgement of what had
 * to end.
 */
import assert from 'node:assert/strict';
import { startEverythingHttp } from '../conformance/everything-http.ts';
import { type RunningHub, startHub, until } from './hub.ts';
import { askHub, slowness } from './load.ts';
import { rpc } from './mcp.ts';
import { IS_LONG } from './measured.ts';
import type { OpenThing } from './open-access.ts';
import { faultServer } from './real-servers.ts';
import { NEW_KEYS_ENV } from './sse-client.ts';

/** Everything of a revoked key has ended after this. */
export const END_MS = 1000;
const START_MS = IS_LONG ? 180_000 : 30_000;

/** Starts the servers and a hub, and waits until every worker has the tools of all; `more` = further servers. */
export async function startRevocable(
  workers: number,
  env: Record<string, string> = {},
  more: Record<string, object> = {},
) {
  const asking = await startEverythingHttp();
  const mcpServers = {
    clock: faultServer('updates'),
    plain: faultServer('normal'),
    asking: { url: asking.url, interactive: true },
    ...more,
  };
  const hub = await startHub({
    config: { mcpServers },
    args: ['--workers', String(workers)],
    // On a machine that others use too, calls of many sessions wait longer for a place at the server.
    env: { ...NEW_KEYS_ENV, MCPHUB_SERVER_QUEUE_MS: '10000', ...env },
  });
  const servers = Object.keys(mcpServers).length;
  for (let slot = 1; slot <= workers; slot += 1)
    await until(async () => (await readyServers(hub, slot)) === servers, START_MS, `the servers at worker ${slot}`);
  for (const server of ['plain', 'asking', 'clock'])
    await until(async () => (await toolCount(hub, server)) > 0, START_MS, `the tools of ${server}`);
  return { asking, hub };
}

async function readyServers(hub: RunningHub, slot: number): Promise<number> {
  const answer = await askHub(hub, '/servers', slot);
  return answer?.servers.filter(({ state }: { state: string }) => state === 'ready').length;
}

async function toolCount(hub: RunningHub, server: string): Promise<number> {
  const { json } = await rpc(`${hub.url}/mcp/${server}`, 'tools/list', {}, { key: hub.key });
  return json?.result?.tools?.length ?? 0;
}

/** One request of the owner to the API. */
export async function api(hub: RunningHub, method: string, path: string, body?: object) {
  const answer = await fetch(`${hub.url}${path}`, {
    method,
    headers: { authorization: `Bearer ${hub.key}`, 'content-type': 'application/json' },
    ...(body ? { body: JSON.stringify(body) } : {}),
  });
  // biome-ignore lint/suspicious/noExplicitAny: answers are looked into by the test
  return { status: answer.status, json: (await answer.json()) as any };
}

/** How much a container holds on all workers together. */
export async function heldBy(hub: RunningHub, workers: number, name: string): Promise<number> {
  let sum = 0;
  for (let slot = 1; slot <= workers; slot += 1) {
    const { ceilings } = await askHub(hub, '/api/ceilings', slot);
    for (const row of ceilings) if (row.name === name) sum += row.size;
  }
  return sum;
}

/** Waits until all have ended, asserts that they did in time, and returns the time until the last had. */
export async function allEnded(things: readonly OpenThing[], sinceMs: number): Promise<number> {
  await until(() => things.every(({ endedMs }) => endedMs !== undefined), 10_000, 'the end of everything').catch(
    () => {},
  );
  const isLate = ({ endedMs }: OpenThing, ms: number) => endedMs === undefined || endedMs - sinceMs > ms;
  const mostMs = things.some((thing) => isLate(thing, END_MS)) ? END_MS * (IS_LONG ? 1 : await slowness()) : END_MS;
  const late = things
    .filter((thing) => isLate(thing, mostMs))
    .map(({ kind, endedMs }) => `${kind}: ${endedMs === undefined ? 'open' : Math.round(endedMs - sinceMs)}`);
  for (const { reading } of things) reading.drop();
  assert.deepEqual(late, [], `ended within ${Math.round(mostMs)} ms`);
  return Math.max(...things.map(({ endedMs = Number.NaN }) => endedMs - sinceMs));
}
