/** A server that allows one session, while the worker that holds it is replaced under load. */
// runs: in pairs, about 60 s
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { delay, type RunningHub, startHub, until } from '../support/hub.ts';
import { slowness } from '../support/load.ts';
import { callTool } from '../support/mcp.ts';
import { startSingleSessionServer } from '../support/single-session-server.ts';
import { startLoad } from '../support/steady-load.ts';

const SESSIONS = 3;
const REPLACEMENTS = 2;
const LONGEST_MS = 2000;

async function isCalled({ url, key }: RunningHub): Promise<boolean> {
  return (await callTool(`${url}/mcp`, 'one_echo', {}, { key })).text.includes('"called"');
}

/** Replaces all workers, and waits until those before have ended. */
async function replaceWorkers(hub: RunningHub): Promise<void> {
  const before = hub.processes().hub ?? [];
  hub.child.kill('SIGUSR2');
  const isReplaced = (): boolean => {
    const now = hub.processes().hub ?? [];
    return now.length === before.length && now.every((pid) => !before.includes(pid));
  };
  await until(isReplaced, 60_000, 'all workers replaced');
  // The supervisor replaces nothing until it has handled the exits.
  await delay(500);
}

describe('a server that allows one session, while its worker is replaced', { timeout: 170_000 }, () => {
  for (const workers of [1, 2]) {
    // case: SV24b
    test(`answers every call and has one session at a time (workers: ${workers})`, async () => {
      await using server = await startSingleSessionServer();
      await using hub = await startHub({
        config: { mcpServers: { one: { type: 'streamable-http', url: server.url } } },
        args: ['--workers', String(workers)],
      });
      await until(() => isCalled(hub), 20_000, 'the first call');
      const slow = await slowness();
      const load = await startLoad(hub, { sessions: SESSIONS, tool: 'one_echo', args: {} });
      for (let round = 0; round < REPLACEMENTS; round += 1) await replaceWorkers(hub);
      const { calls, failed, maxMs } = await load.stop();
      assert.deepEqual(failed, []);
      assert.ok(calls > 50, `${calls} calls`);
      assert.ok(maxMs < LONGEST_MS * slow, `a call took ${Math.round(maxMs)} ms`);
      const opened = server.sessions.filter((event) => event.startsWith('open ')).map((event) => event.slice(5));
      const expected = opened.flatMap((id) => [`open ${id}`, `end ${id}`]).slice(0, -1);
      assert.deepEqual(server.sessions, expected);
      assert.equal(opened.length, 1 + REPLACEMENTS, 'a session of each worker that held it');
    });
  }
});
