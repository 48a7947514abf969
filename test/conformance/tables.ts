/**
 * What a run found, to be read by people: which scenario failed on which path, and each failed check in the suite's own
 * words.
 */
import { expectedOn } from './expected.ts';
import type { PathName } from './paths.ts';
import { hasFailed, isBad, isVoid, type ScenarioRun, type SuiteRun } from './suites.ts';

const MESSAGE_CHARS = 300;

/** How many passed, and the scenarios that did not, with their failed checks. */
export function runTable(path: PathName, run: SuiteRun): string {
  const expected = expectedOn(path, run.suite);
  const failed = run.scenarios.filter((one) => one.scored && hasFailed(one));
  const scored = run.scenarios.filter((one) => one.scored);
  const empty = scored.filter(isVoid).map(({ name }) => name);
  const note = empty.length > 0 ? ` (${empty.join(', ')}: nothing to see)` : '';
  const passed = `${scored.length - failed.length} of ${scored.length} required scenarios pass${note}`;
  const head = `${run.suite.name} ${path}: ${passed}`;
  return [head, ...run.scenarios.filter(hasFailed).flatMap((one) => scenarioLines(one, expected))].join('\n');
}

function scenarioLines(one: ScenarioRun, expected: readonly string[]): string[] {
  const bad = one.checks.filter(isBad);
  const notes = [...(one.scored ? [] : ['not scored']), ...(isExpected(one, expected) ? ['expected'] : [])];
  const note = notes.length > 0 ? `  (${notes.join(', ')})` : '';
  return [
    `  ${one.name}${note}`,
    ...bad.map(({ id, status, errorMessage = '' }) => {
      const message = errorMessage.replaceAll(/\s+/g, ' ').slice(0, MESSAGE_CHARS);
      return `      ${status === 'WARNING' ? 'warning ' : ''}${id}: ${message}`;
    }),
  ];
}

function isExpected(one: ScenarioRun, expected: readonly string[]): boolean {
  return expected.some((entry) => entry === one.name || entry.startsWith(`${one.name}:`));
}

export interface Column {
  readonly path: PathName;
  readonly run: SuiteRun;
}

/** Scenarios down, runs across. */
export function overview(columns: readonly Column[]): string {
  const names = [...new Set(columns.flatMap(({ run }) => run.scenarios.map(({ name }) => name)))];
  const titles = columns.map(({ path, run }) => `${run.suite.name} ${path}`);
  const width = Math.max(...names.map((name) => name.length));
  const row = (first: string, cells: readonly string[]) =>
    `${first.padEnd(width)}  ${cells.map((cell, at) => cell.padEnd(titles[at]?.length ?? 0)).join('  ')}`.trimEnd();
  return [
    row('', titles),
    ...names.map((name) =>
      row(
        name,
        columns.map(({ run }) => cellOf(run, name)),
      ),
    ),
  ].join('\n');
}

function cellOf(run: SuiteRun, name: string): string {
  const one = run.scenarios.find((candidate) => candidate.name === name);
  if (!one) return '–';
  const word = hasFailed(one) ? 'FAIL' : isVoid(one) ? 'void' : 'pass';
  return `${word}${one.scored ? '' : ' *'}`;
}
