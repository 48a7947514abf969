/**
 * Runs one test file in a process group of its own. Whatever the file does, it ends within the limit for a file, and no
 * process of its group is left.
 */
import { spawn } from 'node:child_process';

/** Time of one test, ms; a test that needs longer says so itself. */
const TEST_MS = 180_000;
/** Time of one file, ms; in CI no file takes more than 100 s. */
const FILE_MS = 300_000;
/** Processes and kept connections that the tests have closed end within this time. */
const OPEN_MS = 15_000;
/** A process that does not end itself at the limit (a blocked loop) has this long. */
const KILL_AFTER_MS = 10_000;
const NO_TIME = '✖ not started: the budget of the phase is used up\n';
const LIMITS = new URL('./file-limits.ts', import.meta.url).href;
const CACHE = new URL('./compile-cache.ts', import.meta.url).href;

export interface FileResult {
  readonly file: string;
  readonly passed: number;
  readonly failed: number;
  readonly seconds: number;
  readonly output: string;
}

export interface RunOptions {
  /** What is left of the budget of the phase. */
  readonly limitMs: number;
  /** How long a file may run after its last test. */
  readonly openMs?: number;
}

/** Returns the counts and the output of `file`. A file that ran no test, or leaves something open, has failed. */
export function runFile(file: string, { limitMs, openMs = OPEN_MS }: RunOptions): Promise<FileResult> {
  const startMs = performance.now();
  const fileMs = Math.min(FILE_MS, limitMs);
  if (fileMs <= 0) return Promise.resolve({ file, passed: 0, failed: 1, seconds: 0, output: NO_TIME });
  const spec = ['--test-reporter=spec', '--test-reporter-destination=stdout'];
  const limits = [`--test-reporter=${LIMITS}`, '--test-reporter-destination=stdout'];
  const words = [process.execPath, `--import=${CACHE}`, ...spec, ...limits, `--test-timeout=${TEST_MS}`, file];
  // The shell leads the session: a leader that opens a terminal is ended by SIGHUP when the terminal goes.
  const child = spawn('sh', ['-c', '"$@"; exit $?', 'sh', ...words], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      ...process.env,
      ...{ FORCE_COLOR: '0', TEST_FILE_MS: String(fileMs), TEST_OPEN_MS: String(openMs) },
      // Set where a test runs this; its value would send the events to a runner of Node's.
      NODE_TEST_CONTEXT: undefined,
    },
    detached: true,
  });
  if (child.pid) running.add(child.pid);
  const chunks: Buffer[] = [];
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => chunks.push(chunk));
  const killed = setTimeout(() => {
    chunks.push(Buffer.from(`✖ ${file} did not end at its limit and is killed\n`));
    killGroup(child.pid);
  }, fileMs + KILL_AFTER_MS);
  return new Promise((resolve) => {
    child.once('exit', (code) => {
      clearTimeout(killed);
      // What has been left holds the pipe open.
      killGroup(child.pid);
      running.delete(child.pid ?? 0);
      child.once('close', () => {
        const output = Buffer.concat(chunks).toString('utf8');
        const passed = count(output, 'pass');
        const failures = count(output, 'fail') + count(output, 'cancelled');
        const isOk = code === 0 && failures === 0 && count(output, 'tests') > 0;
        const why = isOk || failures > 0 ? '' : `✖ ${file} ended with code ${code} and no failed test\n`;
        const seconds = (performance.now() - startMs) / 1000;
        resolve({ file, passed, failed: isOk ? 0 : Math.max(1, failures), seconds, output: output + why });
      });
    });
  });
}

/** Process groups of the files that run. */
const running = new Set<number>();

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    for (const pid of running) killGroup(pid);
    process.exit(1);
  });
}

function killGroup(pid: number | undefined): void {
  if (!pid) return;
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // Nothing of the group is left.
  }
}

function count(output: string, what: string): number {
  return Number([...output.matchAll(new RegExp(`^ℹ ${what} (\\d+)$`, 'gm'))].at(-1)?.[1] ?? 0);
}
