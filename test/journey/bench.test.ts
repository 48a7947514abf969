/**
 * The bench runs, checks every answer, and prints its table and its goals. Its figures are not judged here: a busy
 * machine would.
 * covers: A10
 */
// runs: alone
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';
import { GOALS } from '../../bench/goals.ts';
import { cleanEnv, ROOT } from '../support/hub.ts';

const BENCH_MS = 240_000;

test('the bench runs, finds every answer right, and prints its table with all goals', {
  timeout: BENCH_MS + 10_000,
}, () => {
  const run = spawnSync(process.execPath, [join(ROOT, 'bench/run.ts'), '--repetitions', '1', '--seconds', '0.4'], {
    cwd: ROOT,
    env: cleanEnv(),
    encoding: 'utf8',
    timeout: BENCH_MS,
  });
  const out = `${run.stdout}\n${run.stderr}`;
  assert.equal(run.status, 0, out.slice(-3000));
  for (const goal of GOALS)
    assert.match(
      out,
      new RegExp(`^ {2}${goal.id} +(goal|floor|GAP)`, 'm'),
      `${goal.id} is missing:\n${out.slice(-4000)}`,
    );
  assert.match(out, /every answer was the right one/);
  assert.match(out, /limits: all \d+ at their defaults/);
});
