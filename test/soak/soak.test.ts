/**
 * The short soak of CI: two minutes, a fault each ten seconds. (`npm run soak` is the same for an hour, a fault each
 * minute.)
 */
// runs: about 130 s
// covers: P14
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { IS_LONG } from '../support/measured.ts';
import { judged } from './judge.ts';
import { soak } from './soak.ts';

const RUN = IS_LONG ? { minutes: 60, intervalMs: 60_000 } : { minutes: 2, intervalMs: 10_000 };

test('under load and random faults nothing stays unanswered, and the hub stays the size it was', {
  timeout: (RUN.minutes + 3) * 60_000,
}, async (t) => {
  const seed = Number(process.env.SOAK_SEED ?? Math.floor(Math.random() * 2 ** 31));
  t.diagnostic(`seed ${seed} (SOAK_SEED)`);
  const outcome = await soak({ ...RUN, seed, say: (line) => t.diagnostic(line) });
  assert.deepEqual(judged(outcome), []);
});
