/**
 * `npm test`: everything, in phases with a printed budget and the times of the slowest files. Closes with a line
 * `N passed, N failed`.
 * Promises: no phase outlives its budget; what a phase prints is passed through; a phase or file that ran no test is a
 * failure.
 * Usage: node scripts/test.ts [check] [unit] [journey] [security] [cases] [chaos] [conformance]   (none = all)
 */
import { spawn } from 'node:child_process';
import { globSync } from 'node:fs';
import { ensureSystem } from './system.ts';
import type { FileResult } from './test/run-file.ts';
import { runFiles } from './test/run-files.ts';

interface Phase {
  readonly name: string;
  readonly budgetMinutes: number;
  /** Undefined: a script, which has passed when its exit code is 0. */
  readonly files?: readonly string[];
  /** Files that run at the same time. */
  readonly atOnce?: number;
}

/** Files that mostly wait run this many at a time. */
const SIDE_BY_SIDE = 4;
const SLOWEST = 10;

const PHASES: readonly Phase[] = [
  { name: 'check', budgetMinutes: 2 },
  {
    name: 'unit',
    budgetMinutes: 8,
    files: globSync([
      // test/architecture is a part of `check`.
      ...['src/**/*.test.ts', 'test/docs/*.test.ts', 'test/*.test.ts', 'test/support/*.test.ts'],
      'scripts/**/*.test.ts',
    ]),
    atOnce: 3,
  },
  { name: 'journey', budgetMinutes: 14, files: globSync('test/journey/*.test.ts') },
  // Attacks on a whole hub: from the port, with a key, from a server, and from a process beside it.
  { name: 'security', budgetMinutes: 10, files: globSync('test/security/*.test.ts') },
  // What real clients and servers send: the rows of test/cases/catalogue.ts.
  { name: 'cases', budgetMinutes: 8, files: globSync('test/cases/*.test.ts') },
  // What nobody may hang; the long tier and the proof of the protections: `npm run chaos`.
  { name: 'chaos', budgetMinutes: 14, files: globSync(['test/chaos/*.test.ts', 'test/soak/*.test.ts']) },
  // What is in test/conformance/expected-failures.yml may fail here; anything else may not, nor may an entry pass.
  { name: 'conformance', budgetMinutes: 4, files: globSync('test/conformance/*.test.ts'), atOnce: 2 },
];

interface Outcome {
  readonly passed: number;
  readonly failed: number;
  readonly seconds: number;
}

async function run(phase: Phase): Promise<Outcome> {
  const startMs = performance.now();
  const limitMs = phase.budgetMinutes * 60_000;
  const { files, atOnce = SIDE_BY_SIDE } = phase;
  const results = files
    ? await runFiles(files, atOnce, limitMs)
    : [await runScript(`scripts/${phase.name}.ts`, limitMs)];
  const passed = results.reduce((sum, result) => sum + result.passed, 0);
  const failed = results.reduce((sum, result) => sum + result.failed, 0);
  if (files) printFiles(phase, results);
  return { passed, failed: passed > 0 ? failed : Math.max(1, failed), seconds: (performance.now() - startMs) / 1000 };
}

function printFiles(phase: Phase, results: readonly FileResult[]): void {
  const slowest = results.toSorted((one, other) => other.seconds - one.seconds).slice(0, SLOWEST);
  console.log(`slowest of ${results.length} files of ${phase.name}`);
  for (const { file, seconds } of slowest) console.log(`  ${seconds.toFixed(1).padStart(6)} s  ${file}`);
  for (const { file, failed } of results) if (failed > 0) console.log(`FAIL ${file}: ${failed} failed`);
}

function runScript(file: string, limitMs: number): Promise<FileResult> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [file], { stdio: ['ignore', 'inherit', 'inherit'], timeout: limitMs });
    child.on('exit', (code) =>
      resolve({ file, passed: Number(code === 0), failed: Number(code !== 0), seconds: 0, output: '' }),
    );
  });
}

const wanted = process.argv.slice(2);
const phases = PHASES.filter((phase) => wanted.length === 0 || wanted.includes(phase.name));
ensureSystem();
const rows: string[] = [];
let passed = 0;
let failed = 0;
for (const phase of phases) {
  console.log(`\n=== ${phase.name} (budget ${phase.budgetMinutes} min)`);
  const outcome = await run(phase);
  passed += outcome.passed;
  failed += outcome.failed;
  rows.push(
    `  ${phase.name.padEnd(11)} ${(outcome.seconds / 60).toFixed(1).padStart(5)} of ${phase.budgetMinutes} min   ${outcome.passed} passed, ${outcome.failed} failed`,
  );
}
console.log(`\nbudget\n${rows.join('\n')}\n`);
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;
