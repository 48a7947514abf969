/**
 * `node test/conformance/run.ts [--direct|--direct-modern|--http|--stdio|--modern|--dual] [--suite
 * 0.1.16|alpha.12|2026-07-28] [--scenario NAME] [--details]` Runs the suites and prints what passes and why the rest
 * does not. Without a choice: every path, every suite.
 * In the overview `*` means not scored, `void` that it passes though there was nothing to see. `--details` adds all
 * that the suite has kept of a scenario that failed, or of the one that was named.
 * Exit code 1 when a verdict is not clean: a new failure, or an expected one that passes.
 */
import { parseArgs } from 'node:util';
import { expectedOn } from './expected.ts';
import { openPath, PATH_NAMES, type PathName } from './paths.ts';
import { hasFailed, runSuite, SUITES, type Suite, suitesOn } from './suites.ts';
import { type Column, overview, runTable } from './tables.ts';

const { values } = parseArgs({
  options: {
    direct: { type: 'boolean', default: false },
    'direct-modern': { type: 'boolean', default: false },
    http: { type: 'boolean', default: false },
    stdio: { type: 'boolean', default: false },
    modern: { type: 'boolean', default: false },
    dual: { type: 'boolean', default: false },
    suite: { type: 'string' },
    scenario: { type: 'string' },
    details: { type: 'boolean', default: false },
  },
});

const chosen = PATH_NAMES.filter((path) => values[path]);
const paths = chosen.length > 0 ? chosen : PATH_NAMES;
const suites = SUITES.filter(({ name }) => values.suite === undefined || name === values.suite);
if (suites.length === 0) throw new Error(`--suite is one of ${SUITES.map(({ name }) => name).join(', ')}`);

async function runOn(path: PathName, url: string, suite: Suite): Promise<Column> {
  const { scenario } = values;
  const expected = expectedOn(path, suite).filter(
    (entry) => scenario === undefined || entry.split(':')[0] === scenario,
  );
  const run = await runSuite(suite, { url, expected, ...(scenario === undefined ? {} : { scenario }) });
  console.log(`\n${runTable(path, run)}`);
  if (values.details) {
    for (const one of run.scenarios.filter((it) => scenario !== undefined || hasFailed(it)))
      console.log(JSON.stringify(one, null, 2));
  }
  if (run.exitCode !== 0) console.log(`\n${run.summary.slice(-3000)}`);
  return { path, run };
}

const columns: Column[] = [];
for (const name of paths) {
  await using path = await openPath(name);
  for (const suite of suitesOn(name).filter((one) => suites.includes(one)))
    columns.push(await runOn(name, path.url, suite));
}
console.log(`\n${overview(columns)}`);
process.exitCode = columns.every(({ run }) => run.exitCode === 0) ? 0 : 1;
