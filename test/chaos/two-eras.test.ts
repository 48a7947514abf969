/**
 * Two users whose clients count their requests alike, in both eras at once, on servers that all of them share, in both
 * eras too: each hears of its own calls and of nothing else.
 */
// runs: alone
// covers: P18, B14, B25, F4
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { startFaultHttp } from '../support/fault-http.ts';
import { judge, type Recorded } from '../support/history.ts';
import { ROOT, startHub, until } from '../support/hub.ts';
import { makeKey } from '../support/journal.ts';
import { Client, isResult, stdioServer } from '../support/load.ts';
import { measured, scaled } from '../support/measured.ts';
import { startModernServer } from '../support/modern-server.ts';
import { Recorder } from '../support/recorder.ts';

const CALLS = scaled({ ci: 12_000, long: 100_000 });
const AT_MOST_MS = scaled({ ci: 150_000, long: 300_000 });
const CLIENTS_EACH = 4;
const LIMIT_MS = 20_000;
const STEPS = 3;
const SERVERS = ['old', 'older', 'modern', 'newer'] as const;

// row C16 · guards src/upstream/connection/correlator.ts, src/upstream/era-2026/era-transport.ts
test('no byte of one user reaches another, with ids and tokens that collide, in both eras on both sides', {
  timeout: AT_MOST_MS + 120_000,
}, async (t) => {
  const old = await startFaultHttp({});
  await using modern = await startModernServer();
  const config = {
    mcpServers: {
      old: { url: old.url },
      older: stdioServer(),
      modern: { url: modern.url },
      newer: { command: process.execPath, args: [join(ROOT, 'test/support/modern-server.ts')] },
    },
  };
  const limits = { MCPHUB_KEY_PER_SECOND: '20000', MCPHUB_KEY_BURST: '20000' };
  try {
    await using hub = await startHub({ config, env: limits });
    const warm = new Client(hub);
    for (const name of SERVERS)
      await until(async () => isResult(await warm.call(`${name}_echo`, { text: 'up' })), 30_000, name);
    warm.close();
    const history: Recorded[] = [];
    let serials = 0;
    const serial = (): number => {
      serials += 1;
      return serials;
    };
    const bornMs = performance.now();
    const isOver = () => history.length >= CALLS || performance.now() - bornMs > AT_MOST_MS;
    const play = async (recorder: Recorder, isStateless: boolean): Promise<void> => {
      if (!isStateless) assert.ok(await recorder.open());
      for (let turn = 0; !isOver(); turn += 1) {
        const server = SERVERS[turn % SERVERS.length] ?? 'old';
        // The same turn is the same id and token for everybody.
        const streams = turn % 3 === 0;
        await recorder.call(`${server}_${streams ? 'report' : 'echo'}`, streams ? { steps: STEPS } : {}, LIMIT_MS);
      }
      recorder.close();
    };
    const keys = [await makeKey(hub, 'ada'), await makeKey(hub, 'bea')];
    await Promise.all(
      keys.flatMap((key, user) =>
        [false, true].flatMap((isStateless) =>
          Array.from({ length: CLIENTS_EACH }, () =>
            play(new Recorder({ port: hub.port, key, user, isStateless, history, serial }), isStateless),
          ),
        ),
      ),
    );
    const seconds = (performance.now() - bornMs) / 1000;
    const { requests, wrong, counts } = judge(history, new Map());
    t.diagnostic(`${requests} calls in ${seconds.toFixed(1)} s`);
    assert.ok(requests >= CALLS, `only ${requests} calls in time`);
    assert.deepEqual(wrong, []);
    assert.ok(history.every(({ outcome }) => outcome === 'result'));
    assert.deepEqual(modern.complaints, []);
    const figure = { promise: 'P18', unit: '', strict: 0 };
    measured({
      ...figure,
      what: `another user’s words, of ${requests} calls in both eras at once`,
      value: counts.foreign,
    });
  } finally {
    await old.close();
  }
});
