/**
 * The long tier: every chaos and security test with the strict figures, one file after the other, and a dated report of
 * each kind.
 * Promises: what passed at this commit is not run again after a stop (state in `.chaos/`); a file that failed is; the
 * report tells every figure, also those that missed, which files have not run, and at which commit each has.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, totalmem } from 'node:os';
import { join, resolve } from 'node:path';
import type { Figure } from '../../test/support/measured.ts';

const ROOT = resolve(import.meta.dirname, '../..');
const STATE_DIR = join(ROOT, '.chaos');
const FILE_MINUTES = 75;

interface Ran {
  readonly commit: string;
  readonly ok: boolean;
  readonly seconds: number;
  readonly figures: readonly Measured[];
}

type Measured = Figure & { readonly passed: boolean };

type State = Record<string, Ran>;

export interface LongOptions {
  /** Nothing that ran before counts. */
  readonly fresh: boolean;
  /** What passed at earlier commits counts too. */
  readonly keep: boolean;
  /** Parts of names of the files to run now; none = all. */
  readonly only: readonly string[];
}

export function longTier(files: readonly string[], { fresh, keep, only }: LongOptions): number {
  mkdirSync(STATE_DIR, { recursive: true });
  const commit = git('rev-parse', '--short=12', 'HEAD');
  const path = join(STATE_DIR, 'long.json');
  if (fresh) rmSync(path, { force: true });
  const state: State = existsSync(path) ? (JSON.parse(readFileSync(path, 'utf8')) as State) : {};
  const wanted = files.filter((file) => only.length === 0 || only.some((part) => file.includes(part)));
  for (const file of wanted) {
    const before = state[file];
    if (before?.ok && (keep || before.commit === commit)) {
      console.log(`done before: ${file}`);
      continue;
    }
    state[file] = runOne(file, commit);
    writeFileSync(path, JSON.stringify(state, null, 2));
    writeReport(state, files);
  }
  writeReport(state, files);
  return wanted.every((file) => state[file]?.ok) ? 0 : 1;
}

function runOne(file: string, commit: string): Ran {
  const record = join(STATE_DIR, 'measured.jsonl');
  rmSync(record, { force: true });
  const born = performance.now();
  const timeout = FILE_MINUTES * 60_000;
  const args = ['--test', '--test-reporter=spec', `--test-timeout=${timeout}`, '--test-concurrency=1', file];
  const env = { ...process.env, MCPHUB_TIER: 'long', MCPHUB_MEASURED: record };
  const { status } = spawnSync(process.execPath, args, { cwd: ROOT, env, stdio: 'inherit', timeout });
  const lines = existsSync(record) ? readFileSync(record, 'utf8').trim().split('\n') : [];
  const figures = lines.filter((line) => line !== '').map((line) => JSON.parse(line) as Measured);
  return { commit, ok: status === 0, seconds: Math.round((performance.now() - born) / 1000), figures };
}

/** Security tests have a report of their own; a kind of which nothing has run has none. */
function writeReport(state: State, files: readonly string[]): void {
  const dir = join(ROOT, 'docs/reports');
  mkdirSync(dir, { recursive: true });
  const isSecurity = (file: string): boolean => file.startsWith('test/security/');
  const kinds = {
    chaos: { title: 'Long tier', files: files.filter((file) => !isSecurity(file)) },
    security: { title: 'Long tier of the security tests', files: files.filter(isSecurity) },
  };
  for (const [kind, { title, files: ofKind }] of Object.entries(kinds)) {
    if (!ofKind.some((file) => state[file])) continue;
    const name = `${kind}-${new Date().toISOString().slice(0, 10)}.md`;
    writeFileSync(join(dir, name), reportOf(title, state, ofKind));
  }
}

/** Markdown: figures by promise, then the files with their times. */
export function reportOf(title: string, state: State, files: readonly string[]): string {
  const figures = files.flatMap((file) => state[file]?.figures ?? []);
  const rows = figures
    .toSorted((a, b) => Number(a.promise.slice(1)) - Number(b.promise.slice(1)))
    .map(({ promise, what, value, unit, strict, passed }) => {
      const shown = Number.isInteger(value) ? value : Number(value.toPrecision(4));
      return `| ${promise} | ${what} | ${`${shown} ${unit}`.trim()} | ${`${strict} ${unit}`.trim()} | ${passed ? 'pass' : '**missed**'} |`;
    });
  const ran = files.map((file) => {
    const one = state[file];
    const how = one === undefined ? 'not run' : one.ok ? 'passed' : '**failed**';
    const [took, commit] = one === undefined ? ['', ''] : [`${one.seconds} s`, one.commit];
    return `| ${file.replace(/^test\//, '')} | ${how} | ${took} | ${commit} |`;
  });
  return [
    `# ${title}, ${new Date().toISOString().slice(0, 10)}`,
    '',
    `Node ${process.version}, ${cpus().length} cores (${cpus()[0]?.model.trim() ?? 'unknown'}), ${Math.round(totalmem() / 2 ** 30)} GiB. Written by`,
    '`npm run chaos -- --tier long`. The gate is the strict figure of the promise.',
    '',
    '| promise | what | measured | gate | |',
    '|---|---|---|---|---|',
    ...rows,
    '',
    '| file | outcome | took | commit |',
    '|---|---|---|---|',
    ...ran,
    '',
  ].join('\n');
}

function git(...args: string[]): string {
  return spawnSync('git', args, { cwd: ROOT, encoding: 'utf8' }).stdout.trim();
}
