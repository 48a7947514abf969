/**
 * A server that allows one session and does not end it on request (DELETE is refused), over crashes and replacements of
 * workers.
 */
// runs: in pairs, about 60 s
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { delay, type RunningHub, startHub, tryKill, until } from '../support/hub.ts';
import { callTool } from '../support/mcp.ts';
import { type SingleSessionServer, startSingleSessionServer } from '../support/single-session-server.ts';
import { startLoad } from '../support/steady-load.ts';

/** The promise is 65 s. */
const HEALED_MS = 20_000;

/** False too where the connection is cut, as by the end of a worker. */
function isCalled({ url, key }: RunningHub): Promise<boolean> {
  return callTool(`${url}/mcp`, 'one_echo', {}, { key }).then(
    ({ text }) => text.includes('"called"'),
    () => false,
  );
}

/** Calls in a row, each on a connection of its own, so that every worker gets some. */
async function areCalled(hub: RunningHub): Promise<boolean> {
  for (let at = 0; at < 8; at += 1) if (!(await isCalled(hub))) return false;
  return true;
}

async function startServer(deleteStatus: number): Promise<SingleSessionServer> {
  const server = await startSingleSessionServer();
  server.deleteStatus = deleteStatus;
  return server;
}

const configOf = ({ url }: SingleSessionServer): object => ({
  mcpServers: { one: { type: 'streamable-http', url } },
});

function assertOneSession(server: SingleSessionServer): void {
  assert.equal(server.sessions.length, 1, 'one session for all');
  assert.deepEqual(server.repeatedIds, []);
}

describe('a server that allows one session and refuses DELETE', { timeout: 170_000 }, () => {
  for (const workers of [1, 2]) {
    // case: SV24c
    test(`is used again in its session after a worker was killed (workers: ${workers})`, async () => {
      await using server = await startServer(405);
      await using hub = await startHub({ config: configOf(server), args: ['--workers', String(workers)] });
      await until(() => areCalled(hub), HEALED_MS, 'called');
      for (const pid of hub.processes().hub ?? []) {
        tryKill(pid);
        await until(() => !(hub.processes().hub ?? []).includes(pid), HEALED_MS, 'the worker has ended');
        await until(() => areCalled(hub), HEALED_MS, 'called again');
        await until(() => hub.processes().hub?.length === workers, HEALED_MS, 'another worker');
      }
      assertOneSession(server);
    });
  }

  // case: SV24c
  test('is used again in its session after the hub was killed, and after it was stopped', async () => {
    await using server = await startServer(405);
    const first = await startHub({ config: configOf(server) });
    await until(() => areCalled(first), HEALED_MS, 'called');
    for (const pid of [first.pid, ...Object.values(first.processes()).flat()]) tryKill(pid);
    await first.exited;
    const { dataDir, key } = first;
    const second = await startHub({ config: configOf(server), dataDir, key });
    await until(() => areCalled(second), HEALED_MS, 'called after the crash');
    await second.stop();
    await using third = await startHub({ config: configOf(server), dataDir, key });
    await until(() => areCalled(third), HEALED_MS, 'called after the stop');
    assertOneSession(server);
  });

  // case: SV24c
  test('answers every call in its session while the worker is replaced', async () => {
    await using server = await startServer(501);
    await using hub = await startHub({ config: configOf(server) });
    await until(() => isCalled(hub), HEALED_MS, 'called');
    const load = await startLoad(hub, { sessions: 3, tool: 'one_echo', args: {} });
    const [before = -1] = hub.processes().hub ?? [];
    hub.child.kill('SIGUSR2');
    await until(() => !(hub.processes().hub ?? []).includes(before), 60_000, 'the worker is replaced');
    await delay(500);
    const { failed, calls } = await load.stop();
    assert.deepEqual(failed, []);
    assert.ok(calls > 50, `${calls} calls`);
    assertOneSession(server);
  });

  // case: SV24c
  test('gets a session of its own after its restart', async () => {
    await using server = await startServer(405);
    await using hub = await startHub({ config: configOf(server) });
    await until(() => areCalled(hub), HEALED_MS, 'called');
    const [pid = -1] = hub.processes().hub ?? [];
    server.restart();
    tryKill(pid);
    await until(() => !(hub.processes().hub ?? []).includes(pid), HEALED_MS, 'the worker has ended');
    await until(() => areCalled(hub), HEALED_MS, 'called again');
    assert.equal(server.sessions.length, 2);
  });
});
