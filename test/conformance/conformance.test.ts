/**
 * The official conformance suites against the everything server: first directly, which proves it in either era, then
 * through a hub whose server speaks the 2025 dates (over HTTP, over stdio), 2026-07-28, or both; there the suites of
 * both eras, so that the hub passes on or bridges. What is lost in any bridge stands in `expected-failures.yml`; a new
 * failure and an entry that has come to pass both fail here. `node test/conformance/run.ts` prints the same as tables.
 */
// covers: E1, F1
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { expectedOn, parseExpected, voidOn } from './expected.ts';
import { type OpenPath, openPath, PATH_NAMES, PATHS } from './paths.ts';
import { isVoid, runSuite, type Suite, suitesOn } from './suites.ts';
import { runTable } from './tables.ts';

/** Both suites on one path, with the hub's start and end. */
const PATH_MS = 270_000;

async function judge(path: OpenPath, suite: Suite): Promise<void> {
  const expected = expectedOn(path.name, suite);
  const run = await runSuite(suite, { url: path.url, expected });
  const table = runTable(path.name, run);
  console.log(table);
  assert.equal(run.exitCode, 0, `${table}\n${run.summary.slice(-3000)}\n${path.log().slice(-2000)}`);
  const scored = run.scenarios.filter((one) => one.scored);
  assert.equal(scored.length, suite.required, 'every required scenario ran');
  const empty = scored.filter(isVoid).map(({ name }) => name);
  assert.deepEqual(empty.sort(), voidOn(path.name).sort(), 'nothing passes because there was nothing to see');
}

for (const name of PATH_NAMES) {
  test(`${PATHS[name].means}: the suites pass but for what is expected`, { timeout: PATH_MS }, async (t) => {
    await using path = await openPath(name);
    for (const suite of suitesOn(name)) await t.test(suite.name, () => judge(path, suite));
  });
}

test('a suite fails for a scenario that is expected to fail and passes', { timeout: PATH_MS }, async () => {
  await using path = await openPath('direct');
  for (const suite of suitesOn('direct')) {
    const run = await runSuite(suite, { url: path.url, expected: ['ping'], scenario: 'ping' });
    assert.equal(run.exitCode, 1, run.summary);
  }
});

test('a suite fails for a server that is not there', { timeout: PATH_MS }, async () => {
  const path = await openPath('direct');
  await path[Symbol.asyncDispose]();
  for (const suite of suitesOn('direct')) {
    const run = await runSuite(suite, { url: path.url, expected: [], scenario: 'ping' });
    assert.equal(run.exitCode, 1, run.summary);
  }
});

test('a line of the file of expected failures that is not understood is an error', () => {
  const text = '# why\nserver:\n  - ping # later\n  - tools-list:tools-list\nserver-http: []\n';
  assert.deepEqual(
    [...parseExpected(text)],
    [
      ['server', ['ping', 'tools-list:tools-list']],
      ['server-http', []],
    ],
  );
  assert.throws(() => parseExpected('server:\n- ping\n'), /what is "- ping"/);
});
