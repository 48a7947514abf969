/**
 * `npm test`: everything, in phases with a printed budget. Closes with a line `N passed, N failed`.
 * Promises: no phase outlives its budget; what a phase prints is passed through; a phase that ran no test is a failure.
 * Usage: node scripts/test.ts [check] [unit] [journey] [security] [cases] [chaos] [conformance]   (none = all)
 */
import { spawn } from 'node:child_process';
import { globSync, readFileSync } from 'node:fs';
import { ensureSystem } from './system.ts';

interface Phase {
  readonly name: string;
  readonly budgetMinutes: number;
  /** Run one after the other; all but `check` print node:test's summary. */
  readonly commands: readonly (readonly string[])[];
  readonly isTests: boolean;
}

/** No test may hang its phase; journeys that need longer say so themselves. */
const TEST_MS = 180_000;
const NODE_TEST = [process.execPath, '--test', '--test-reporter=spec', `--test-timeout=${TEST_MS}`];

/** Files that mostly wait run this many at a time. */
const SIDE_BY_SIDE = 4;
/** The first line of a file whose gates or load need the machine for themselves. */
const ALONE = /^\/\/ runs: alone/m;

/** Splits the files into those that run side by side and those that run alone, each with a runner of its own. */
function sideBySide(...patterns: readonly string[]): string[][] {
  const files = globSync(patterns as string[]).sort();
  const isAlone = (file: string): boolean => ALONE.test(readFileSync(file, 'utf8'));
  const groups = [
    { files: files.filter((file) => !isAlone(file)), atOnce: SIDE_BY_SIDE },
    { files: files.filter(isAlone), atOnce: 1 },
  ];
  return groups
    .filter((group) => group.files.length > 0)
    .map((group) => [...NODE_TEST, `--test-concurrency=${group.atOnce}`, ...group.files]);
}

const PHASES: readonly Phase[] = [
  { name: 'check', budgetMinutes: 2, commands: [[process.execPath, 'scripts/check.ts']], isTests: false },
  {
    name: 'unit',
    budgetMinutes: 7,
    commands: [
      [
        ...NODE_TEST,
        '--test-concurrency=2',
        'src/**/*.test.ts',
        'test/laws/*.test.ts',
        'test/docs/*.test.ts',
        'test/requirements.test.ts',
        'test/failures.test.ts',
        'test/support/*.test.ts',
        'scripts/**/*.test.ts',
      ],
    ],
    isTests: true,
  },
  { name: 'journey', budgetMinutes: 16, commands: sideBySide('test/journey/*.test.ts'), isTests: true },
  {
    // Attacks on a whole hub: from the port, with a key, from a server, and from a process beside it.
    name: 'security',
    budgetMinutes: 6,
    commands: sideBySide('test/security/*.test.ts'),
    isTests: true,
  },
  {
    // What real clients and servers send: the rows of test/cases/catalogue.ts.
    name: 'cases',
    budgetMinutes: 3,
    commands: sideBySide('test/cases/*.test.ts'),
    isTests: true,
  },
  {
    // What nobody may hang; the long tier and the proof of the protections: `npm run chaos`.
    name: 'chaos',
    budgetMinutes: 12,
    commands: sideBySide('test/chaos/*.test.ts', 'test/soak/*.test.ts'),
    isTests: true,
  },
  {
    // What is in test/conformance/expected-failures.yml may fail here; anything else may not, nor may an entry pass.
    name: 'conformance',
    budgetMinutes: 4,
    commands: [[...NODE_TEST, '--test-concurrency=1', 'test/conformance/*.test.ts']],
    isTests: true,
  },
];

interface Outcome {
  readonly passed: number;
  readonly failed: number;
  readonly ok: boolean;
  readonly seconds: number;
}

/** Runs the commands of a phase in turn; the budget is for all of them together. */
async function run(phase: Phase): Promise<Outcome> {
  const startMs = performance.now();
  const total = { passed: 0, failed: 0, ok: phase.commands.length > 0 };
  for (const command of phase.commands) {
    const leftMs = phase.budgetMinutes * 60_000 - (performance.now() - startMs);
    const { passed, failed, ok } = await runCommand(phase, command, Math.max(1, leftMs));
    total.passed += passed;
    total.failed += failed;
    total.ok &&= ok;
  }
  return { ...total, failed: total.ok ? 0 : Math.max(1, total.failed), seconds: (performance.now() - startMs) / 1000 };
}

function runCommand(phase: Phase, command: readonly string[], limitMs: number): Promise<Omit<Outcome, 'seconds'>> {
  return new Promise((resolve) => {
    const [program = process.execPath, ...args] = command;
    const child = spawn(program, args, {
      stdio: ['ignore', 'pipe', 'inherit'],
      env: { ...process.env, FORCE_COLOR: '0' },
      detached: true,
    });
    let tail = '';
    child.stdout.on('data', (chunk: Buffer) => {
      process.stdout.write(chunk);
      tail = (tail + chunk.toString('utf8')).slice(-200_000);
    });
    const limit = setTimeout(() => {
      console.log(`phase ${phase.name} is over its budget of ${phase.budgetMinutes} min and is ended`);
      if (child.pid) process.kill(-child.pid, 'SIGKILL');
    }, limitMs);
    child.on('exit', (code) => {
      clearTimeout(limit);
      const passed = phase.isTests ? count(tail, 'pass') : code === 0 ? 1 : 0;
      const failed = phase.isTests ? count(tail, 'fail') + count(tail, 'cancelled') : code === 0 ? 0 : 1;
      resolve({ passed, failed, ok: code === 0 && failed === 0 && passed > 0 });
    });
  });
}

function count(text: string, what: string): number {
  return Number([...text.matchAll(new RegExp(`^ℹ ${what} (\\d+)$`, 'gm'))].at(-1)?.[1] ?? 0);
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
