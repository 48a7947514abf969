/**
 * A server that dies as soon as it is started, for minutes: it is started seldom, and costs next to nothing.
 */
// runs: in pairs, about 20 s
// covers: P15
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { delay, startHub, until } from '../support/hub.ts';
import { Client, isResult, stdioServer } from '../support/load.ts';
import { measured, scaled } from '../support/measured.ts';
import { isUnharmed } from '../support/unharmed.ts';

/** CPU time of these processes and of their children that have ended, ms. */
function cpuMs(pids: readonly number[]): number {
  return pids.reduce((sum, pid) => {
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
      .replace(/^.*\) /, '')
      .split(' ');
    return sum + fields.slice(11, 15).reduce((ticks, field) => ticks + Number(field) * 10, 0);
  }, 0);
}

const FOR_MS = scaled({ ci: 8000, long: 300_000 });

/** What a hub that nobody calls takes, % of a core. */
async function cpuShare(mcpServers: object, forMs: number): Promise<number> {
  await using hub = await startHub({ config: { mcpServers } });
  const client = new Client(hub);
  await until(async () => isResult(await client.call('one_echo', { text: 'up' })), 60_000, 'one');
  client.close();
  await delay(3000);
  const pids = [hub.pid, ...Object.values(hub.processes()).flat()];
  const before = cpuMs(pids);
  await delay(forMs);
  const share = ((cpuMs(pids) - before) / forMs) * 100;
  await isUnharmed(hub, 'one_echo');
  return share;
}

// row B7 · guards src/upstream/link/reconnect-backoff.ts
test('a child that dies at once is started seldom, and costs next to nothing', { timeout: 400_000 }, async () => {
  const directory = mkdtempSync(join(tmpdir(), 'mcphub-loop-'));
  const journal = join(directory, 'journal');
  writeFileSync(journal, '');
  try {
    const looping = { command: 'sh', args: ['-c', `echo start >> '${journal}'; exit 1`] };
    const idle = await cpuShare({ one: stdioServer() }, FOR_MS / 5);
    const value = (await cpuShare({ one: stdioServer(), looping }, FOR_MS)) - idle;
    measured({ promise: 'P15', what: 'CPU of a crash loop', value, unit: '% of a core', strict: 2, ci: 10 });
    const starts = readFileSync(journal, 'utf8').split('\n').length - 1;
    measured({ promise: 'P15', what: 'starts of a crash loop in five minutes', value: starts, unit: '', strict: 8 });
    assert.ok(starts >= 2, `${starts} starts`);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
});
