/**
 * The expected failures: `expected-failures.yml` holds what the hub cannot do yet, and the suites judge by it.
 * Promises: what is handed to a suite is a file of its own format that holds the entries of one path; a line that is
 * not understood is an error, so that no entry is lost by a slip.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { PATH_NAMES, PATHS, type PathName } from './paths.ts';
import type { Suite } from './suites.ts';

const FILE = join(import.meta.dirname, 'expected-failures.yml');

/** Entries by key. The part of YAML that the file needs: `key:`, `key: []` and `- entry`. */
export function parseExpected(text: string): Map<string, string[]> {
  // bounded by: the lines of the file
  const byKey = new Map<string, string[]>();
  let entries: string[] | undefined;
  for (const line of text.split('\n').map((whole) => whole.replace(/(^|\s)#.*$/, '').trimEnd())) {
    const key = /^([a-z0-9-]+):(?: \[\])?$/.exec(line)?.[1];
    const entry = /^ {2}- (\S+)$/.exec(line)?.[1];
    if (key !== undefined) {
      entries = [];
      byKey.set(key, entries);
    } else if (entry !== undefined && entries) entries.push(entry);
    else if (line !== '') throw new Error(`expected-failures.yml: what is "${line}"?`);
  }
  return byKey;
}

/** What may fail in a suite on a path; nothing without the hub. */
export function expectedOn(path: PathName, { era }: Pick<Suite, 'era'>): string[] {
  const { isHub, eras } = PATHS[path];
  if (!isHub) return [];
  const isStraight = eras === era || eras === 'both';
  return entriesUnder(`${era}-${path}`, ...(isStraight ? [] : [`${era}-over-${eras}`]));
}

/** What may pass on a path though it saw nothing; nothing without the hub. */
export function voidOn(path: PathName): string[] {
  return PATHS[path].isHub ? entriesUnder('void') : [];
}

const KEYS: ReadonlySet<string> = new Set([
  ...PATH_NAMES.filter((name) => PATHS[name].isHub).flatMap((name) => [`2025-${name}`, `2026-${name}`]),
  '2025-over-2026',
  '2026-over-2025',
  'void',
]);

function entriesUnder(...keys: readonly string[]): string[] {
  const byKey = parseExpected(readFileSync(FILE, 'utf8'));
  const strange = [...byKey.keys()].find((key) => !KEYS.has(key));
  if (strange !== undefined) throw new Error(`expected-failures.yml: what is "${strange}"?`);
  return keys.flatMap((key) => byKey.get(key) ?? []);
}

/** Writes them as a suite reads them. */
export function writeExpected(file: string, entries: readonly string[]): void {
  writeFileSync(file, ['server:', ...entries.map((entry) => `  - ${entry}`), ''].join('\n').replace(/:\n$/, ': []\n'));
}
