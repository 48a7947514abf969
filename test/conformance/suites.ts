/**
 * The two official suites as programs: runs one against an address and reads what it found.
 * Promises: a run ends within `RUN_MS`, its process by its own pid; the suite's exit code is the verdict, with its own
 * rule for expected failures (an expected one is forgiven; a new one or one that passes is not).
 */
import { spawn } from 'node:child_process';
import { globSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { cleanEnv, ROOT } from '../support/hub.ts';
import type { Era } from './everything-http.ts';
import { writeExpected } from './expected.ts';
import { PATHS, type PathName } from './paths.ts';

export type SuiteName = '0.1.16' | 'alpha.12' | '2026-07-28';

export interface Suite {
  readonly name: SuiteName;
  /** Its package, a name given in package.json so that both versions stand side by side. */
  readonly folder: string;
  readonly all: readonly string[];
  /** Beside `--scenario`. */
  readonly one: readonly string[];
  /** How many scenarios are required of a server. */
  readonly required: number;
  /** What its client speaks. */
  readonly era: Era;
}

export interface Check {
  readonly id: string;
  readonly status: string;
  readonly errorMessage?: string;
  readonly details?: unknown;
}

export interface ScenarioRun {
  readonly name: string;
  readonly checks: readonly Check[];
  /** It counts for the verdict. */
  readonly scored: boolean;
}

export interface SuiteRun {
  readonly suite: Suite;
  readonly scenarios: readonly ScenarioRun[];
  /** −1 when it was ended for taking too long. */
  readonly exitCode: number;
  /** The end of what it printed: the summary, and what was expected, new or stale. */
  readonly summary: string;
}

export interface SuiteOptions {
  readonly url: string;
  /** Scenarios that may fail. */
  readonly expected: readonly string[];
  /** Only this one. */
  readonly scenario?: string;
}

export const SUITES: readonly Suite[] = [
  { name: '0.1.16', folder: 'conformance-0-1-16', all: ['--suite', 'active'], one: [], required: 30, era: '2025' },
  {
    name: 'alpha.12',
    folder: 'conformance-0-2-alpha',
    all: ['--requirements', '2025-11-25', '--timeout', '15000'],
    one: ['--spec-version', '2025-11-25'],
    required: 30,
    era: '2025',
  },
  {
    name: '2026-07-28',
    folder: 'conformance-0-2-alpha',
    all: ['--requirements', '2026-07-28', '--timeout', '15000'],
    one: ['--spec-version', '2026-07-28'],
    required: 37,
    era: '2026',
  },
];

/** Which of them run on a path: a hub is met in either era, a server in its own. */
export function suitesOn(path: PathName): readonly Suite[] {
  const { isHub, eras } = PATHS[path];
  return SUITES.filter(({ era }) => isHub || era === eras);
}

const RUN_MS = 120_000;
const OUTPUT_CHARS = 1_000_000;

/** All scenarios of the suite, or one, against `url`. */
export async function runSuite(suite: Suite, options: SuiteOptions): Promise<SuiteRun> {
  const folder = mkdtempSync(join(tmpdir(), 'mcphub-conformance-'));
  try {
    const expectedFile = join(folder, 'expected.yml');
    writeExpected(expectedFile, options.expected);
    const which = options.scenario === undefined ? suite.all : [...suite.one, '--scenario', options.scenario];
    const out = join(folder, 'out');
    const { exitCode, output } = await runProgram(join(ROOT, 'node_modules', suite.folder, 'dist/index.js'), [
      'server',
      ...['--url', options.url],
      ...which,
      ...['--expected-failures', expectedFile],
      ...['--output-dir', out],
    ]);
    const unscored = unscoredOf(suite);
    const scenarios = readChecks(out, output, unscored);
    return { suite, scenarios, exitCode, summary: summaryOf(output) };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** One run of a suite's program; what it printed is kept to its last million characters. */
export function runProgram(program: string, args: readonly string[]): Promise<{ exitCode: number; output: string }> {
  return new Promise((done, fail) => {
    const child = spawn(process.execPath, [program, ...args], {
      cwd: ROOT,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...cleanEnv(), NO_COLOR: '1' },
    });
    let output = '';
    const collect = (chunk: Buffer) => {
      output = (output + chunk.toString('utf8')).slice(-OUTPUT_CHARS);
    };
    child.stdout.on('data', collect);
    child.stderr.on('data', collect);
    const limit = setTimeout(() => {
      output += `\nended: not finished within ${RUN_MS} ms`;
      child.kill('SIGKILL');
    }, RUN_MS);
    child.once('error', fail);
    child.once('close', (code) => {
      clearTimeout(limit);
      done({ exitCode: code ?? -1, output });
    });
  });
}

/** Scenarios in the order in which they ran; each leaves its checks in a folder `server-<scenario>-<date>`. */
function readChecks(out: string, output: string, unscored: ReadonlySet<string>): ScenarioRun[] {
  const order = [...output.matchAll(/Running client scenario '([^']+)'/g)].map(([, name]) => name ?? '');
  // bounded by: the scenarios of the suite
  const checks = new Map<string, Check[]>();
  for (const file of globSync('*/checks.json', { cwd: out })) {
    const name = basename(dirname(file))
      .replace(/^server-/, '')
      .replace(/-\d{4}-\d\d-\d\dT[\d-]+Z$/, '');
    checks.set(name, JSON.parse(readFileSync(join(out, file), 'utf8')) as Check[]);
  }
  return order.map((name) => ({ name, checks: checks.get(name) ?? [NOT_FINISHED], scored: !unscored.has(name) }));
}

const NOT_FINISHED: Check = { id: 'not-finished', status: 'FAILURE', errorMessage: 'It left no checks behind.' };

/** What a set of requirements runs without scoring it. */
function unscoredOf(suite: Suite): ReadonlySet<string> {
  const revision = suite.all[0] === '--requirements' ? suite.all[1] : undefined;
  if (revision === undefined) return new Set();
  const text = readFileSync(join(ROOT, 'node_modules', suite.folder, 'requirements', `${revision}.yaml`), 'utf8');
  return new Set([...text.matchAll(/- scenario: (\S+)/g)].map(([, name]) => name ?? ''));
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: colours
const COLOUR = /\u001b\[\d+m/g;

function summaryOf(output: string): string {
  const at = Math.max(output.indexOf('=== SUMMARY ==='), output.indexOf('Test Results:'));
  return output
    .slice(at < 0 ? -4000 : at)
    .replaceAll(COLOUR, '')
    .trim();
}

/** As the suites' own rule for expected failures has it: a warning counts. */
export function hasFailed({ checks }: ScenarioRun): boolean {
  return checks.some(isBad);
}

/** It has not failed, but nothing was seen that could: no check succeeded, or the list that it looked at was empty. */
export function isVoid(one: ScenarioRun): boolean {
  if (hasFailed(one)) return false;
  const seen = one.checks.filter(({ id, status }) => status === 'SUCCESS' && id !== WIRE_CHECK);
  return seen.length === 0 || seen.some(({ details }) => countIn(details) === 0);
}

/** Every scenario of the later suite has it, whatever the scenario saw. */
const WIRE_CHECK = 'wire-schema-valid';

function countIn(details: unknown): unknown {
  const { toolCount, promptCount, resourceCount } = (details ?? {}) as Record<string, unknown>;
  return toolCount ?? promptCount ?? resourceCount;
}

export function isBad({ status }: Check): boolean {
  return status === 'FAILURE' || status === 'WARNING';
}
