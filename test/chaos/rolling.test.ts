/**
 * A hub is replaced while people work: by SIGUSR2, and because it holds too much memory. The replacement serves before
 * the old one drains, so that nobody's call fails: not over kept connections, not with a session, not to a server that
 * is a child of the hub.
 */
// runs: alone
// covers: P8, P10
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { startFaultHttp } from '../support/fault-http.ts';
import { delay, isAlive, type RunningHub, startHub, tryKill, until } from '../support/hub.ts';
import { type Answer, askHub, Client, isResult, stdioServer } from '../support/load.ts';
import { measured, scaled } from '../support/measured.ts';

const CLIENTS = 30;
const ROUNDS = scaled({ ci: 1, long: 10 });
const GONE_MS = 40_000;
const HOOKS = { NODE_ENV: 'test', MCPHUB_FAULT_HOOKS: '1' };
/** What an idle hub holds on this machine, and room for a leak to be seen. */
const CEILING_BYTES = 230 * 2 ** 20;

interface Load {
  readonly answers: Answer[];
  /** Streams that were closed and opened again. */
  reopened: number;
  stop(): Promise<void>;
}

/** Clients with sessions and streams that call all the time, over kept connections. */
async function load(hub: RunningHub, tools: readonly string[]): Promise<Load> {
  const clients = Array.from({ length: CLIENTS }, () => new Client(hub));
  await Promise.all(clients.map((client) => client.open()));
  await Promise.all(clients.map((client) => client.listen()));
  const run = { answers: [] as Answer[], reopened: 0, isOver: false };
  const callers = clients.map(async (client, at) => {
    for (let turn = at; !run.isOver; turn += 1) {
      const tool = tools[turn % tools.length] ?? 'one_echo';
      run.answers.push(await client.call(tool, tool.endsWith('_sleep') ? { ms: 300 } : { text: `t${turn}` }));
      await delay(100 + Math.random() * 200);
    }
  });
  return Object.assign(run, {
    stop: async () => {
      run.isOver = true;
      await Promise.all(callers);
      for (const client of clients) client.close();
    },
  });
}

function fails(answers: readonly Answer[]): unknown[] {
  return answers
    .filter((answer) => !isResult(answer))
    .map(({ status, fault, text }) => ({ status, fault, text: text.slice(0, 300) }));
}

async function serves(hub: RunningHub, tools: readonly string[]): Promise<void> {
  const client = new Client(hub);
  for (const tool of tools)
    await until(async () => isResult(await client.call(tool, { text: 'up', ms: 1 })), 60_000, tool);
  client.close();
}

describe('a hub is replaced', { timeout: 900_000 }, () => {
  for (const hubs of [1, 2]) {
    // row G2 · guards src/supervisor/managed-process.ts, src/process/drain.ts
    test(`by SIGUSR2, ${hubs} of ${hubs}: no call fails, and the old ones end`, async () => {
      await using web = await disposable();
      const tools = ['one_echo', 'web_echo', 'one_sleep'];
      await using hub = await startHub({
        config: { mcpServers: { one: stdioServer(), web: { type: 'http', url: web.url } } },
        args: ['--workers', String(hubs)],
      });
      await serves(hub, tools);
      const run = await load(hub, tools);
      for (let round = 0; round < ROUNDS; round += 1) {
        const old = hub.processes().hub ?? [];
        assert.equal(old.length, hubs);
        await delay(1000);
        tryKill(hub.pid, 'SIGUSR2');
        await until(() => old.every((pid) => !isAlive(pid)), GONE_MS * hubs, 'the end of the old hubs');
        assert.equal(hub.processes().hub?.length, hubs);
      }
      await delay(1000);
      await run.stop();
      assert.ok(run.answers.length > CLIENTS * 10, `${run.answers.length} calls`);
      assert.deepEqual(fails(run.answers).slice(0, 5), [], `${fails(run.answers).length} of ${run.answers.length}`);
      measured({
        promise: 'P8',
        what: `failed of ${run.answers.length} calls in ${ROUNDS} rolling replacements of ${hubs}`,
        value: fails(run.answers).length,
        unit: 'calls',
        strict: 0,
      });
      // Its servers' processes ended with the old hubs: one of each is left.
      await until(
        () => hub.descendants().length === hubs + 2,
        10_000,
        `hubs, control, one server: ${hub.descendants().length}`,
      );
      assert.equal((await askHub(hub, '/api/health')).hub, 1, 'the private name leads to the replacement');
      assert.equal(await hub.stop(), 0);
      assert.deepEqual(hub.descendants(), []);
    });
  }

  // row F5 · guards src/supervisor/managed-process.ts, src/supervisor/liveness-policy.ts, src/config/memory-share.ts
  test('because it leaks: no call fails, and memory is what it was', async () => {
    await using hub = await startHub({
      config: { mcpServers: { one: stdioServer() } },
      env: { ...HOOKS, MCPHUB_HUB_MEMORY_BYTES: String(CEILING_BYTES) },
    });
    await serves(hub, ['one_echo']);
    const run = await load(hub, ['one_echo']);
    const [leaking = 0] = hub.processes().hub ?? [];
    tryKill(leaking, 'SIGXCPU');
    await until(() => /its limit is 230 MB: starting a replacement/.test(hub.log), 40_000, 'the ceiling');
    await until(() => !isAlive(leaking), GONE_MS, 'the end of the one that leaks');
    await delay(500);
    await run.stop();
    assert.deepEqual(fails(run.answers).slice(0, 5), [], `${fails(run.answers).length} of ${run.answers.length}`);
    const slowest = Math.max(...run.answers.map(({ ms }) => ms));
    measured({
      promise: 'P10',
      what: 'slowest call while a hub leaks 20 MB/s and is replaced',
      value: slowest,
      unit: 'ms',
      strict: 2000,
      ci: 4020,
    });
    const { process: now } = await askHub(hub, '/api/health');
    assert.ok(now.rssBytes < CEILING_BYTES, `${now.rssBytes}`);
  });

  // row F7 · guards src/process/worker-end.ts
  test('not for a rejection that nobody looks at, and at once after an exception', async () => {
    const config = { mcpServers: { one: stdioServer() } };
    await using hub = await startHub({ config, env: HOOKS, expectsFaults: true });
    await serves(hub, ['one_echo']);
    const [pid = 0] = hub.processes().hub ?? [];
    const client = new Client(hub);
    await client.open();
    tryKill(pid, 'SIGXFSZ');
    await until(() => hub.log.includes('a rejection for a test'), 5000, 'the line');
    assert.ok(isResult(await client.call('one_echo', { text: 'x' })));
    assert.deepEqual(hub.processes().hub, [pid]);
    const bornMs = performance.now();
    tryKill(pid, 'SIGPROF');
    await until(() => !isAlive(pid), 3000, 'its end');
    const again = new Client(hub);
    again.session = client.session;
    await until(async () => isResult(await again.call('one_echo', { text: 'x' })), 10_000, 'the next one');
    measured({
      promise: 'P10',
      what: 'serves after an uncaught exception',
      value: performance.now() - bornMs,
      unit: 'ms',
      strict: 3000,
      ci: 6020,
    });
    assert.match(hub.log, /an exception for a test/);
    client.close();
    again.close();
  });
});

async function disposable() {
  const web = await startFaultHttp({});
  return { url: web.url, [Symbol.asyncDispose]: () => web.close() };
}
