/** Options of `mcphub start` on the fast path, which reads them without commander. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { flagsOf, START_OPTIONS, startOptionsFrom } from './start-options.ts';

test('--workers and its former name --hubs are read', () => {
  assert.deepEqual({ ...startOptionsFrom(['--workers', '2']) }, { workers: '2' });
  assert.deepEqual(
    { ...startOptionsFrom(['--hubs=3', '-p', '80', '--example']) },
    { hubs: '3', port: '80', example: true },
  );
});

test('help, unknown options and missing values are left to commander', () => {
  for (const words of [['--help'], ['--worker', '2'], ['--workers'], ['extra']])
    assert.equal(startOptionsFrom(words), undefined, words.join(' '));
});

test('flags are written as commander expects them', () => {
  assert.deepEqual(START_OPTIONS.filter(({ isFormer }) => isFormer).map(flagsOf), ['--hubs <n>']);
  assert.ok(START_OPTIONS.map(flagsOf).includes('-p, --port <port>'));
});
