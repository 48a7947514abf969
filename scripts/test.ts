/**
 * `npm test`: everything, in phases with a printed budget. Closes with a line `N passed, N failed`.
 * Promises: no phase outlives its budget; what a phase prints is passed through; a phase that ran no test is a failure.
 * Usage: node scripts/test.ts [check] [unit] [security] [journey] [chaos] [conformance]   (none = all)
 */
import { spawn } from 'node:child_process';
import { ensureSystem } from './system.ts';

interface Phase {
  readonly name: string;
  readonly budgetMinutes: number;
  readonly command: readonly string[];
  /** It prints node:test's summary. */
  readonly isTests: boolean;
}

/** No test may hang its phase; journeys that need longer say so themselves. */
const TEST_MS = 180_000;
const NODE_TEST = [process.execPath, '--test', '--test-reporter=spec', `--test-timeout=${TEST_MS}`];

const PHASES: readonly Phase[] = [
  { name: 'check', budgetMinutes: 2, command: [process.execPath, 'scripts/check.ts'], isTests: false },
  {
    name: 'unit',
    budgetMinutes: 7,
    command: [
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
    isTests: true,
  },
  {
    // Attacks on a whole hub, from the port, with a key, and from a process beside it.
    name: 'security',
    budgetMinutes: 4,
    command: [...NODE_TEST, '--test-concurrency=1', 'test/security/*.test.ts'],
    isTests: true,
  },
  {
    name: 'journey',
    budgetMinutes: 20,
    command: [...NODE_TEST, '--test-concurrency=1', 'test/journey/*.test.ts'],
    isTests: true,
  },
  {
    // What nobody may hang; the long tier and the proof of the protections: `npm run chaos`.
    name: 'chaos',
    budgetMinutes: 12,
    command: [...NODE_TEST, '--test-concurrency=1', 'test/chaos/*.test.ts', 'test/soak/*.test.ts'],
    isTests: true,
  },
  {
    // What is in test/conformance/expected-failures.yml may fail here; anything else may not, nor may an entry pass.
    name: 'conformance',
    budgetMinutes: 4,
    command: [...NODE_TEST, '--test-concurrency=1', 'test/conformance/*.test.ts'],
    isTests: true,
  },
];

interface Outcome {
  readonly passed: number;
  readonly failed: number;
  readonly ok: boolean;
  readonly seconds: number;
}

function run(phase: Phase): Promise<Outcome> {
  return new Promise((resolve) => {
    const born = performance.now();
    const [command = process.execPath, ...args] = phase.command;
    const child = spawn(command, args, {
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
    }, phase.budgetMinutes * 60_000);
    child.on('exit', (code) => {
      clearTimeout(limit);
      const passed = phase.isTests ? count(tail, 'pass') : code === 0 ? 1 : 0;
      const failed = phase.isTests ? count(tail, 'fail') + count(tail, 'cancelled') : code === 0 ? 0 : 1;
      const ok = code === 0 && failed === 0 && passed > 0;
      resolve({ passed, failed: ok ? 0 : Math.max(1, failed), ok, seconds: (performance.now() - born) / 1000 });
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
