/**
 * One key that wants all there is of a server: another key's calls to the same server take what they took before.
 */
// runs: alone
// covers: P11
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { test } from 'node:test';
import { startFaultHttp } from '../support/fault-http.ts';
import { delay, ROOT, type RunningHub, startHub, until } from '../support/hub.ts';
import { makeKey } from '../support/journal.ts';
import { Client, isResult, median } from '../support/load.ts';
import { IS_LONG, measured, scaled } from '../support/measured.ts';
import { isUnharmed } from '../support/unharmed.ts';

/** As many as one key may have; four times what the server takes. */
const CONNECTIONS = 256;
/** What the server takes at once, and how long each call takes it. */
const [INSIDE, TOOL_MS] = [64, 50];
const ROUNDS = scaled({ ci: 2, long: 8 });
const ROUND_MS = scaled({ ci: 2500, long: 8000 });

async function flooding(hub: RunningHub, key: string) {
  const words = [String(hub.port), key, String(CONNECTIONS), 'web_sleep', JSON.stringify({ ms: TOOL_MS })];
  const child = spawn(process.execPath, [join(ROOT, 'test/support/flooder.ts'), ...words], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  let said = '';
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    said += chunk;
  });
  await until(() => said.includes('flooding'), 20_000, 'the flood');
  return {
    async stop(): Promise<Record<string, number>> {
      child.stdin.end();
      if (child.exitCode === null) await once(child, 'close');
      return JSON.parse(said.slice(said.indexOf('{')));
    },
  };
}

function p99(times: readonly number[]): number {
  return [...times].sort((a, b) => a - b)[Math.floor(times.length * 0.99)] ?? Number.NaN;
}

test('one key floods a server, and another key’s calls to it take what they took', { timeout: 300_000 }, async () => {
  const web = await startFaultHttp();
  await using hub = await startHub({ config: { mcpServers: { web: { url: web.url, inFlight: INSIDE } } } });
  try {
    const [flooder, victim] = [await makeKey(hub, 'ada'), await makeKey(hub, 'bea')];
    const client = new Client({ port: hub.port, key: victim });
    const call = () => client.call('web_sleep', { ms: TOOL_MS });
    await until(async () => isResult(await call()), 30_000, 'the server');
    const timesFor = async (ms: number): Promise<number[]> => {
      const times: number[] = [];
      for (const bornMs = performance.now(); performance.now() - bornMs < ms; ) {
        const answer = await call();
        assert.ok(isResult(answer), answer.text);
        times.push(answer.ms);
      }
      return times;
    };
    const [quiet, loud] = [[] as number[], [] as number[]];
    for (let round = 0; round < ROUNDS; round += 1) {
      quiet.push(...(await timesFor(ROUND_MS)));
      const flood = await flooding(hub, flooder);
      // One key alone gets three quarters of the places.
      await until(() => web.seen.open - web.seen.getStreams >= 0.75 * INSIDE - 1, 20_000, 'the key has its share');
      loud.push(...(await timesFor(ROUND_MS)));
      const answered = await flood.stop();
      assert.ok((answered['200'] ?? 0) > ((ROUND_MS / TOOL_MS) * INSIDE) / 4, JSON.stringify(answered));
      await delay(500);
    }
    client.close();
    // In CI the median: the slowest of a hundred calls is the machine's.
    const of = IS_LONG ? p99 : median;
    measured({
      ...{ promise: 'P11', unit: 'ms' },
      what: `${IS_LONG ? 'p99' : 'median'} of another key’s calls to a server that one key floods, above without`,
      value: of(loud) - of(quiet),
      strict: 0.2 * p99(quiet),
      ci: of(quiet) + 20,
    });
    await isUnharmed(hub, 'web_echo');
  } finally {
    await web.close();
  }
});
