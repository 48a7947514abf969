/**
 * Sixteen busy processes take the processors: the supervisor kills no process of the hub.
 */
// runs: alone
// covers: P10
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { test } from 'node:test';
import { delay, startHub, statusOf } from '../support/hub.ts';
import { stdioServer } from '../support/load.ts';
import { measured, scaled } from '../support/measured.ts';

const BUSY = 16;

// row F10 · guards src/supervisor/liveness-policy.ts
test('on a starved machine no process is killed', { timeout: 2_000_000 }, async () => {
  await using hub = await startHub({ config: { mcpServers: { one: stdioServer() } } });
  const processes = (): number[] => [...(hub.processes().hub ?? []), ...(hub.processes().control ?? [])];
  const before = processes();
  const busy = Array.from({ length: BUSY }, () =>
    spawn(process.execPath, ['-e', 'for (;;) Math.sqrt(2)'], { stdio: 'ignore' }),
  );
  try {
    await delay(scaled({ ci: 10_000, long: 1_800_000 }));
  } finally {
    for (const one of busy) one.kill('SIGKILL');
  }
  const now = processes();
  const value = before.filter((pid) => !now.includes(pid)).length;
  measured({ promise: 'P10', what: `killed beside ${BUSY} busy processes`, value, unit: '', strict: 0 });
  assert.doesNotMatch(hub.log, /process-condemned/);
  assert.equal(await statusOf(`${hub.url}/health`), 200);
});
