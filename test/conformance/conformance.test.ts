/**
 * The official conformance suites against the everything server, which speaks the 2025 dates: first directly, which proves the server, then
 * through a hub that reaches it over HTTP and over stdio; there the suite of 2026-07-28 too, which the hub bridges. What the hub cannot do yet stands in `expected-failures.yml`; a new failure and an entry
 * that has come to pass both fail here. `node test/conformance/run.ts` prints the same as tables.
 */
// covers: E1
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { expectedOn, parseExpected, voidOn } from './expected.ts';
import { type OpenPath, openPath, PATHS, type PathName } from './paths.ts';
import { isVoid, runSuite, SUITES, type Suite } from './suites.ts';
import { runTable } from './tables.ts';

/** Both suites on one path, with the hub's start and end. */
const PATH_MS = 270_000;

const MEANS: Readonly<Record<PathName, string>> = {
  direct: 'the everything server itself',
  http: 'the hub, its server over HTTP',
  stdio: 'the hub, its server over stdio',
};

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

for (const name of PATHS) {
  test(`${MEANS[name]} passes the suites but for what is expected`, { timeout: PATH_MS }, async (t) => {
    await using path = await openPath(name);
    for (const suite of SUITES)
      if (name !== 'direct' || !suite.isBridged) await t.test(suite.name, () => judge(path, suite));
  });
}

test('a suite fails for a scenario that is expected to fail and passes', { timeout: PATH_MS }, async () => {
  await using path = await openPath('direct');
  for (const suite of SUITES.filter(({ isBridged }) => !isBridged)) {
    const run = await runSuite(suite, { url: path.url, expected: ['ping'], scenario: 'ping' });
    assert.equal(run.exitCode, 1, run.summary);
  }
});

test('a suite fails for a server that is not there', { timeout: PATH_MS }, async () => {
  const path = await openPath('direct');
  await path[Symbol.asyncDispose]();
  for (const suite of SUITES.filter(({ isBridged }) => !isBridged)) {
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
