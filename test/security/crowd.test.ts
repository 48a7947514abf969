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
    test(`answers every request of ${keys} key(s) ${what}, keeps /health and heartbeats on time, and replaces no process`, async (t) => {
      const sessions = sessionsWithin(scaled({ ci: 1500, long: 5000 }));
      const seconds = scaled({ ci: 4, long: 30 });
      const seen = await crowd({ sessions, keys, env, seconds });
      assert.equal(seen.errors, 0, `wrong answers: ${seen.firstError}`);
      assert.ok(seen.answered > sessions, `${seen.answered} answers`);
      assert.doesNotMatch(seen.log, /"process-condemned"|"uncaught"/);
      const of = `${sessions} sessions of ${keys} key(s) ${what}`;
      t.diagnostic(`${of}: ${seen.answered} answers in ${seconds} s, ${seen.refused} of them refusals`);
      const none = { promise: 'P10', unit: '', strict: 0 };
      const time = { promise: 'P10', unit: 'ms' };
      measured(
        { ...none, what: `${of}: unanswered, of ${seen.sent} requests`, value: seen.unanswered },
        { ...none, what: `${of}: processes that ended or were replaced`, value: seen.changedProcesses },
        { ...none, what: `${of}: answers of /health that were not 200`, value: seen.healthFailures },
        { ...time, what: `${of}: slowest /health`, value: seen.healthMaxMs, strict: 500, ci: 1500 },
        { ...time, what: `${of}: time between heartbeats`, value: seen.heartbeatMaxMs, strict: 1500, ci: 2500 },
        { ...time, what: `${of}: longest turn of the worker`, value: seen.longestTurnMs, unit: 'ms CPU', strict: 100 },
      );
    });
  }
});
