/**
 * Kills real processes that run in sessions of their own, found by their mark.
 */
// covers: A5
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { test } from 'node:test';
import { isAlive, tryKill, until } from '../../test/support/hub.ts';
import { livingMarked, sweepMarked } from './sweep.ts';

const skip = process.platform !== 'linux';
const ROOT = `sweep-test-${process.pid}`;

function sleeper(mark: string): number {
  const env = { PATH: process.env.PATH, OTHER: `MCPHUB_MARK=${ROOT}.1.hub-1`, MCPHUB_MARK: mark };
  return spawn('sleep', ['60'], { env, stdio: 'ignore', detached: true }).pid ?? -1;
}

test('a prefix ends those whose mark begins with it, and nobody of another supervisor', { skip }, async () => {
  const mine = [sleeper(`${ROOT}.1.hub-1.000001`), sleeper(`${ROOT}.1.hub-1.000001.server.2`)];
  const others = [sleeper(`${ROOT}.12.hub-1.000001`), sleeper(`x${ROOT}.1.hub-1`)];
  try {
    await until(async () => (await livingMarked(`${ROOT}.`)).length === 3, 5000, 'three are marked');
    assert.deepEqual((await sweepMarked(`${ROOT}.1.`)).sort(), mine.sort());
    assert.deepEqual(mine.filter(isAlive), []);
    assert.deepEqual(others.filter(isAlive), others);
  } finally {
    for (const pid of [...mine, ...others]) if (isAlive(pid)) tryKill(pid);
  }
});

test('an empty prefix, which would fit all, ends nobody', { skip }, async () => {
  const pid = sleeper(`${ROOT}.2.`);
  try {
    await until(async () => (await livingMarked(`${ROOT}.2.`)).length === 1, 5000, 'it is marked');
    assert.deepEqual(await sweepMarked(''), []);
    assert.equal(isAlive(pid), true);
  } finally {
    tryKill(pid);
  }
});

test('nobody with such a mark: nothing happens', { skip }, async () => {
  assert.deepEqual(await sweepMarked(`${ROOT}.nobody.`), []);
});
