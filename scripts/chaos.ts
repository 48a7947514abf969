/**
 * `npm run chaos`: the proof that nothing hangs the hub.
 * Usage: npm run chaos                    all tests that prove a row of the catalogue, and the short soak
 *        npm run chaos -- --tier ci       what CI runs as its phase `chaos`
 *        npm run chaos -- --tier long     with the strict figures; resumes an interrupted run; writes a report
 *                                         (--fresh: from the beginning; --keep: passes of earlier commits count too;
 *                                         names: only these files)
 *        npm run chaos -- --prove [name]  removes protections one by one, in a copy, and shows that their tests fail
 * Promises: ends by itself; exit code 1 when something failed.
 */
import { spawnSync } from 'node:child_process';
import { globSync, readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { longTier } from './chaos/long.ts';
import { prove } from './chaos/prove.ts';
import { ensureSystem } from './system.ts';

const TEST_MS = 180_000;

function filesWithRows(): string[] {
  const all = globSync('src/**/*.test.ts');
  return all.filter((path) => /^\s*\/\/ row [A-G]\d/m.test(readFileSync(path, 'utf8'))).sort();
}

/** Security tests with a form for the long tier. */
function scaledSecurityTests(): string[] {
  const all = globSync('test/security/*.test.ts').sort();
  return all.filter((path) => /\b(scaled|measured|IS_LONG)\b/.test(readFileSync(path, 'utf8')));
}

function runTests(files: readonly string[]): number {
  const args = ['--test', '--test-reporter=spec', `--test-timeout=${TEST_MS}`, '--test-concurrency=1', ...files];
  return spawnSync(process.execPath, args, { stdio: 'inherit' }).status ?? 1;
}

const { values, positionals } = parseArgs({
  options: {
    ...{ tier: { type: 'string', default: 'all' }, prove: { type: 'boolean', default: false } },
    ...{ fresh: { type: 'boolean', default: false }, keep: { type: 'boolean', default: false } },
  },
  allowPositionals: true,
});
const CHAOS = [...globSync('test/chaos/*.test.ts').sort(), ...scaledSecurityTests(), 'test/soak/soak.test.ts'];
ensureSystem();
if (values.prove) process.exitCode = await prove(positionals);
else if (values.tier === 'ci') process.exitCode = runTests(CHAOS);
else if (values.tier === 'all') process.exitCode = runTests([...filesWithRows(), ...CHAOS]);
else if (values.tier === 'long')
  process.exitCode = longTier(CHAOS, { fresh: values.fresh, keep: values.keep, only: positionals });
else {
  console.error(`There is no tier "${values.tier}"; there are: ci, all (the default), long.`);
  process.exitCode = 2;
}
