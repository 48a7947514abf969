// runs: in pairs, about 60 s
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { type FakeDocker, fakeDocker } from '../support/fake-docker.ts';
import { isAlive, ROOT, type RunningHub, startHub, tryKill, until } from '../support/hub.ts';
import { Client, isResult } from '../support/load.ts';

const SERVER = join(ROOT, 'test/support/fault-stdio.ts');
/**
 * Ends neither at the end of its input nor at SIGTERM, like a program that is PID 1 of its container and has no
 * handlers.
 */
const STUBBORN = 'ignores-sigterm';

async function serves(hub: RunningHub, tool: string): Promise<void> {
  const client = new Client(hub);
  await until(async () => isResult(await client.call(tool, { text: 'x' })), 30_000, tool);
  client.close();
}

async function restart(hub: RunningHub, server: string): Promise<void> {
  const answer = await fetch(`${hub.url}/api/servers/${server}/restart`, {
    method: 'POST',
    headers: { authorization: `Bearer ${hub.key}` },
  });
  assert.ok(answer.ok, `${answer.status} ${await answer.text()}`);
}

async function one(docker: FakeDocker): Promise<void> {
  await until(() => docker.running().length === 1, 10_000, `one container, not ${docker.running().length}`);
}

// case: SV34
describe('a server that is a container', { timeout: 240_000 }, () => {
  for (const [what, options, mode, restarts] of [
    ['ends at the end of its input', ['-i', '--rm', '--init'], 'normal', 1],
    ['ignores SIGTERM and has a name', ['-i', '--rm', '--name', 'fixed'], STUBBORN, 2],
  ] as const) {
    test(`and ${what} leaves no container: restart, kill -9 of the worker, stop`, async () => {
      using docker = fakeDocker();
      const config = { mcpServers: { box: docker.server(options, SERVER, mode) } };
      await using hub = await startHub({ config });
      await serves(hub, 'box_echo');
      await one(docker);
      for (let round = 0; round < restarts; round += 1) {
        const [before] = docker.running();
        await restart(hub, 'box');
        await until(() => docker.running().every(({ id }) => id !== before?.id), 15_000, 'the end of the old one');
        await serves(hub, 'box_echo');
        await one(docker);
      }
      const [worker = 0] = hub.processes().hub ?? [];
      tryKill(worker);
      await until(() => !isAlive(worker), 5000, 'its end');
      await serves(hub, 'box_echo');
      await one(docker);
      assert.equal(await hub.stop(), 0);
      assert.deepEqual(docker.all(), [], 'after the stop');
    });
  }

  test('and outlives the whole hub is ended by the next start, and no container of another hub is', async () => {
    using docker = fakeDocker();
    const config = { mcpServers: { box: docker.server(['-i', '--rm'], SERVER, STUBBORN) } };
    await using other = await startHub({ config });
    await serves(other, 'box_echo');
    const [foreign] = docker.running();
    await using first = await startHub({ config });
    await serves(first, 'box_echo');
    for (const pid of [first.pid, ...first.descendants()]) tryKill(pid);
    await until(() => !isAlive(first.pid), 5000, 'its end');
    assert.equal(docker.running().length, 2, 'it is left behind');
    await using second = await startHub({ config, dataDir: first.dataDir, key: first.key });
    await serves(second, 'box_echo');
    await until(() => docker.running().length === 2, 10_000, 'the forgotten one has ended');
    assert.equal(await second.stop(), 0);
    assert.deepEqual(docker.running(), [foreign]);
    assert.equal(await other.stop(), 0);
    assert.deepEqual(docker.all(), []);
  });

  test('and asks its users has a container for each session, and none is taken for another', async () => {
    using docker = fakeDocker();
    const box = { ...docker.server(['-i', '--rm'], SERVER, STUBBORN), interactive: true };
    await using hub = await startHub({ config: { mcpServers: { box } } });
    const clients = [new Client(hub), new Client(hub)];
    const pids = new Set<string>();
    for (const client of clients) {
      await client.open();
      await until(async () => isResult(await client.call('box_pid')), 30_000, 'it answers');
    }
    for (const client of clients) pids.add((await client.call('box_pid')).text);
    assert.equal(pids.size, 2, 'the first one was not ended by the start of the second');
    for (const client of clients) client.close();
    assert.equal(await hub.stop(), 0);
    assert.deepEqual(docker.all(), []);
  });

  test('without --rm is killed and kept as its arguments say, with a warning at the start', async () => {
    using docker = fakeDocker();
    const config = { mcpServers: { box: docker.server(['-i'], SERVER, STUBBORN) } };
    await using hub = await startHub({ config });
    await serves(hub, 'box_echo');
    assert.match(hub.log, /start a container that may stay when the server is stopped or started again/);
    assert.equal(await hub.stop(), 0);
    assert.deepEqual([docker.running().length, docker.all().length], [0, 1]);
    assert.match(hub.log, /containers of box outlived their client and were removed/);
  });
});
