/**
 * A hub that leaks while nobody replaces it: the supervisor stands still. It refuses new work at its mark, says so, and
 * goes on answering health.
 */
// covers: P11
// runs: in pairs, about 20 s
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isAlive, startHub, tryKill, until } from '../support/hub.ts';
import { askHub, Client, isResult, stdioServer } from '../support/load.ts';
import { measured } from '../support/measured.ts';

/** Its heap may have a quarter more; 85 % of that is where it sheds. */
const CEILING_BYTES = 230 * 2 ** 20;

// row F5 · guards src/admission/gate.ts, src/process/pressure-watch.ts
test('a hub whose memory runs out refuses new work in words, answers health, and is replaced as soon as somebody can', {
  timeout: 120_000,
}, async () => {
  await using hub = await startHub({
    config: { mcpServers: { one: stdioServer() } },
    env: { NODE_ENV: 'test', MCPHUB_FAULT_HOOKS: '1', MCPHUB_HUB_MEMORY_BYTES: String(CEILING_BYTES) },
  });
  const client = new Client(hub);
  await until(async () => isResult(await client.call('one_echo', { text: 'up' })), 60_000, 'one');
  const [leaking = 0] = hub.processes().hub ?? [];
  const running = client.call('one_sleep', { ms: 9000 }, 20_000);
  tryKill(hub.pid, 'SIGSTOP');
  try {
    tryKill(leaking, 'SIGXCPU');
    let slowestMs = 0;
    await until(
      async () => {
        const bornMs = performance.now();
        const health = await askHub(hub, '/api/health');
        slowestMs = Math.max(slowestMs, performance.now() - bornMs);
        return health?.status === 'overloaded';
      },
      30_000,
      'the mark',
    );
    measured({
      promise: 'P11',
      what: 'GET /api/health while memory runs out',
      value: slowestMs,
      unit: 'ms',
      strict: 1000,
      ci: 2020,
    });
    const { process: figures } = await askHub(hub, '/api/health');
    assert.equal(figures.pressure, 'shedding');
    assert.ok(figures.peakRssBytes > CEILING_BYTES, 'the high-water mark is kept');
  } finally {
    tryKill(hub.pid, 'SIGCONT');
  }
  const answer = await running;
  assert.ok(isResult(answer), `what ran goes on: ${answer.status} ${answer.text}${answer.fault ?? ''}`);
  await until(() => !isAlive(leaking), 60_000, 'the end of the one that leaks');
  await until(async () => isResult(await new Client(hub).call('one_echo', { text: 'again' })), 10_000, 'the next one');
  assert.match(hub.log, /resource pressure: shedding \(memory at \d+ %\)/);
  client.close();
});
