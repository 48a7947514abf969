/**
 * A hub whose loop stands still, or that is stopped: found, put on record, replaced. A starved host is the decision
 * table's test (`verdict.test.ts`).
 */
// runs: in pairs, about 50 s
// covers: A6, P10
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { delay, isAlive, type RunningHub, startHub, statusOf, tryKill, until } from '../support/hub.ts';
import { Client, isResult, slowness, stdioServer } from '../support/load.ts';

const CONFIG = { mcpServers: { one: stdioServer() } };
const ENV = { NODE_ENV: 'test', MCPHUB_FAULT_HOOKS: '1' };
/** Of the acceptance, from the beginning of the stall; CI's gate is ×2 + 20 ms. */
const ANSWER_MS = 8000 * 2 + 20;

interface Evidence {
  readonly process: string;
  readonly pid: number;
  readonly why: string;
  readonly guiltyStack?: readonly string[];
}

function evidenceOf(hub: RunningHub, pid: number): Evidence | undefined {
  const dir = join(hub.dataDir, 'evidence');
  const all = readdirSync(dir).map((name) => JSON.parse(readFileSync(join(dir, name), 'utf8')) as Evidence);
  return all.find((one) => one.pid === pid);
}

/** Both pages answer again; resolves with the ms since `bornMs`. */
async function answering(hub: RunningHub, bornMs: number): Promise<number> {
  await until(
    async () => (await statusOf(`${hub.url}/health`)) === 200 && (await statusOf(`${hub.url}/`)) === 200,
    30_000,
    'GET / and /health',
  );
  return performance.now() - bornMs;
}

async function strike(
  hub: RunningHub,
  signal: NodeJS.Signals,
): Promise<{ victim: number; tookMs: number; slow: number }> {
  const slow = await slowness();
  const client = new Client(hub);
  await client.open();
  // The witness is awake a second after the start.
  await delay(1500);
  const [victim = -1] = hub.processes().hub ?? [];
  const bornMs = performance.now();
  tryKill(victim, signal);
  // A request on a fresh connection waits in the supervisor rather than with the dead.
  await delay(100);
  const tookMs = await answering(hub, bornMs);
  await until(() => !isAlive(victim), 5000, 'the end of the stalled one');
  const after = new Client(hub);
  after.session = client.session;
  const call = await after.call('one_echo', { text: 'x' });
  assert.ok(isResult(call), `the session goes on: ${call.status} ${call.fault} ${call.text}`);
  client.close();
  after.close();
  return { victim, tookMs, slow };
}

describe('a hub that does not turn', { timeout: 400_000 }, () => {
  test('a blocked loop whose guard is killed: the hub and its children end all the same', async () => {
    await using hub = await startHub({
      config: { mcpServers: { one: stdioServer(), deaf: stdioServer('ignores-sigterm') } },
      env: ENV,
    });
    const client = new Client(hub);
    for (const name of ['one_echo', 'deaf_echo'])
      await until(async () => isResult(await client.call(name)), 60_000, name);
    client.close();
    await delay(1500);
    const family = hub.descendants();
    for (const pid of hub.processes().hub ?? []) tryKill(pid, 'SIGUSR2');
    await delay(200);
    const slow = await slowness();
    await hub.stop('SIGKILL');
    await until(() => !family.some(isAlive), 10_000 * slow, `the end of ${family.filter(isAlive)}`);
  });

  test('a blocked loop: its stack is on record, and the pages answer', async () => {
    await using hub = await startHub({ config: CONFIG, env: ENV });
    const { victim, tookMs, slow } = await strike(hub, 'SIGUSR2');
    assert.ok(tookMs <= ANSWER_MS * slow, `${Math.round(tookMs)} ms`);
    const evidence = evidenceOf(hub, victim);
    assert.match(evidence?.why ?? '', /its event loop is stalled/);
    assert.ok(
      evidence?.guiltyStack?.some((line) => line.includes('blockTheLoop')),
      `the stack names the guilty: ${JSON.stringify(evidence)}`,
    );
    assert.equal(await hub.stop(), 0);
    assert.deepEqual(hub.descendants(), []);
  });

  test('a stopped hub is replaced', async () => {
    await using hub = await startHub({ config: CONFIG, env: ENV });
    const { victim, tookMs, slow } = await strike(hub, 'SIGSTOP');
    assert.ok(tookMs <= ANSWER_MS * slow, `${Math.round(tookMs)} ms`);
    assert.match(evidenceOf(hub, victim)?.why ?? '', /stopped \(state T\)/);
    assert.equal(await hub.stop(), 0);
    assert.deepEqual(hub.descendants(), []);
  });

  test('one of two: new connections are answered meanwhile', async () => {
    await using hub = await startHub({ config: CONFIG, env: ENV, args: ['--workers', '2'] });
    await until(() => hub.log.includes('hub-1 started') && hub.log.includes('hub-2 started'), 60_000, 'two hubs');
    await delay(1500);
    const slow = await slowness();
    const [victim = -1] = hub.processes().hub ?? [];
    tryKill(victim, 'SIGUSR2');
    const answers: Promise<number>[] = [];
    for (let at = 0; at < 20; at += 1) {
      answers.push(fetchStatus(hub, ANSWER_MS * slow));
      await delay(100);
    }
    const statuses = await Promise.all(answers);
    // One connection may sit with the stalled one until it is killed; then another takes it.
    assert.deepEqual(new Set(statuses), new Set([200]));
    await until(() => !isAlive(victim), 10_000, 'the end of the stalled one');
    assert.equal(await hub.stop(), 0);
    assert.deepEqual(hub.descendants(), []);
  });
});

async function fetchStatus(hub: RunningHub, timeoutMs: number): Promise<number> {
  const client = new Client(hub);
  try {
    return (await client.list(timeoutMs)).status;
  } finally {
    client.close();
  }
}
