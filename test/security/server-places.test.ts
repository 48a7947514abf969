/**
 * One key's long or failing calls to a server leave another key's calls to the same server as they are: it has a share
 * of the places there, and what fails for one key only opens no circuit breaker.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type RunningHub, startHub, until } from '../support/hub.ts';
import { askHub, stdioServer } from '../support/load.ts';
import { callTool, type RpcAnswer } from '../support/mcp.ts';
import { makeKey, NEW_KEYS_ENV } from '../support/sse-client.ts';

const CALLS = 60;
/** Of a call that takes no time, beside 60 long ones. */
const SOON_MS = 1500;
/** Three quarters of the places of a stdio server. */
const ONE_KEY = 24;
const LONG_MS = 2500;

function call(hub: RunningHub, key: string, tool: string, args: object): Promise<RpcAnswer> {
  return callTool(`${hub.url}/mcp`, `shared_${tool}`, args, { key, timeoutMs: 20_000 });
}

/** Calls inside the server, of all workers. */
async function inFlight(hub: RunningHub): Promise<number> {
  const { ceilings } = await askHub(hub, '/api/ceilings');
  return ceilings
    .filter(({ name }: { name: string }) => name === 'upstream.in-flight')
    .reduce((sum: number, { size }: { size: number }) => sum + size, 0);
}

// finding: SR-A11
for (const hubs of ['1', '2'])
  test(`a call is answered while another key fills the same server, with ${hubs} worker(s)`, async () => {
    const env = { ...NEW_KEYS_ENV, MCPHUB_WORKERS: hubs, MCPHUB_TOTAL_MS: '5000' };
    await using hub = await startHub({ config: { mcpServers: { shared: stdioServer() } }, env });
    const [greedy, other] = [await makeKey(hub, 'greedy'), await makeKey(hub, 'other')];
    const isWell = async (what: string) => {
      const { text, ms } = await call(hub, other, 'echo', { text: 'well' });
      assert.ok(text.includes('well'), `${what}: ${text}`);
      assert.ok(ms < SOON_MS, `${what}: ${Math.round(ms)} ms`);
    };
    await call(hub, greedy, 'echo', { text: 'x' });
    for (let at = 0; at < 5; at += 1) await isWell('before');

    const long = Array.from({ length: CALLS }, () => call(hub, greedy, 'sleep', { ms: LONG_MS }));
    await until(async () => (await inFlight(hub)) >= ONE_KEY, 5000, 'the long calls');
    for (let at = 0; at < 5; at += 1) await isWell('beside long calls');
    await Promise.all(long);

    // Each ends at its total without an answer, which speaks against the server.
    const failing = Array.from({ length: 20 }, () => call(hub, greedy, 'stuck', {}));
    await Promise.all(failing);
    await isWell('after failing calls');
  });
