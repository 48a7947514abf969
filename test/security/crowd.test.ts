/**
 * Thousands of sessions that call at once: the hub is busy, answers on time, and no process is replaced.
 */
// runs: alone
// covers: P10
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { crowd, sessionsWithin } from '../support/crowd.ts';
import { IS_LONG, measured, scaled } from '../support/measured.ts';

/** Answers are plain JSON: the generator reads no streams. */
const PLAIN = { MCPHUB_STREAM_AFTER_MS: '60000' };
const RAISED = {
  ...PLAIN,
  MCPHUB_CALLS: '16384',
  MCPHUB_KEY_IN_FLIGHT: '16384',
  MCPHUB_SERVER_QUEUE: '16384',
  MCPHUB_SERVER_QUEUE_MS: '10000',
};
const ALL = [
  { keys: 1, what: 'at default limits', env: PLAIN },
  { keys: 50, what: 'with limits raised', env: RAISED },
  { keys: 50, what: 'at default limits', env: PLAIN },
  { keys: 1, what: 'with limits raised', env: RAISED },
];

describe('a crowd that calls at once', { timeout: 600_000 }, () => {
  for (const { keys, what, env } of IS_LONG ? ALL : ALL.slice(0, 2)) {
    // row F10 · guards src/downstream/pacing.ts
    // finding: SR-O1
    test(`answers every request of ${keys} key(s) ${what}, keeps /health and heartbeats on time, and replaces no process`, async () => {
      const sessions = sessionsWithin(scaled({ ci: 1500, long: 5000 }));
      const seen = await crowd({ sessions, keys, env, seconds: scaled({ ci: 4, long: 30 }) });
      assert.deepEqual([seen.errors, seen.unanswered], [0, 0], `wrong or missing answers: ${seen.firstError}`);
      assert.ok(seen.answered > sessions, `${seen.answered} answers`);
      assert.equal(seen.areProcessesTheSame, true, 'a process was replaced');
      assert.doesNotMatch(seen.log, /"process-condemned"|"uncaught"/);
      assert.equal(seen.healthFailures, 0, 'answers of /health that were not 200');
      const of = `${sessions} sessions of ${keys} key(s) ${what}`;
      const gate = { promise: 'P10', unit: 'ms' };
      measured({ ...gate, what: `${of}: slowest /health`, value: seen.healthMaxMs, strict: 500, ci: 1500 });
      measured({ ...gate, what: `${of}: time between heartbeats`, value: seen.heartbeatMaxMs, strict: 1500, ci: 2500 });
      measured({ ...gate, what: `${of}: CPU of the longest turn`, value: seen.longestTurnMs, strict: 100, ci: 80 });
    });
  }
});
