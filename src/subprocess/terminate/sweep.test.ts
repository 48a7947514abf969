import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { test } from 'node:test';
import { isAlive, until } from '../../../test/support/hub.ts';
import { createRuntime } from '../../runtime/runtime.ts';
import { livingMarked, sweepMarked } from './sweep.ts';

const skip = process.platform !== 'linux';
const NAME = `sweep${process.pid}`;

function sleeper(mark: string): number {
  const env = { PATH: process.env.PATH, OTHER: `MCPHUB_MARK=${NAME}.a`, MCPHUB_MARK: mark };
  return spawn('sleep', ['60'], { env, stdio: 'ignore', detached: true }).pid ?? 0;
}

test('only processes of this mark are killed, not those of a longer name', { skip }, async () => {
  const runtime = createRuntime();
  const mine = [sleeper(`${NAME}.a`), sleeper(`${NAME}.a.b.1`)];
  const other = sleeper(`${NAME}.ab`);
  try {
    await until(async () => (await livingMarked(`${NAME}.a`)).length === 2, 3000);
    const killed = await sweepMarked(`${NAME}.a`, runtime.deadline(3000));
    assert.deepEqual(killed.sort(), mine.sort());
    await until(() => !mine.some(isAlive), 1000);
    assert.equal(isAlive(other), true);
    assert.deepEqual(await sweepMarked(`${NAME}.ab`, runtime.deadline(3000)), [other]);
  } finally {
    for (const pid of [...mine, other]) if (isAlive(pid)) process.kill(pid, 'SIGKILL');
  }
});

test('a sweep whose time is up returns at once', { skip }, async () => {
  const runtime = createRuntime();
  const deadline = runtime.deadline(0);
  deadline.end('time-up');
  assert.deepEqual(await sweepMarked(NAME, deadline), []);
});
