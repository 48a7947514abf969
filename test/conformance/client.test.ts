/**
 * The hub as a client, judged by the official suites: every required scenario that is not about OAuth passes, in both
 * eras.
 */
// covers: F1
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CLIENT_SUITES, runClient } from './client-suites.ts';

const SCENARIO_MS = 60_000;
/** Over the same wire whatever the scenario saw. */
const WIRE_CHECK = 'wire-schema-valid';

for (const suite of CLIENT_SUITES) {
  for (const scenario of suite.scenarios) {
    test(`the hub as a client, ${suite.name}: ${scenario}`, { timeout: SCENARIO_MS }, async () => {
      const { exitCode, checks, bad, output } = await runClient(suite, scenario);
      assert.deepEqual(bad, [], output.slice(-4000));
      assert.equal(exitCode, 0, output.slice(-4000));
      const seen = checks.filter(({ id, status }) => status === 'SUCCESS' && id !== WIRE_CHECK);
      assert.notEqual(seen.length, 0, `nothing was seen:\n${output.slice(-4000)}`);
    });
  }
}

test('which scenarios are required is known', () => {
  assert.deepEqual(
    CLIENT_SUITES.map(({ scenarios }) => scenarios.length),
    [4, 4, 7],
  );
});
