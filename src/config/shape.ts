/**
 * Validates a parsed file against the schema and turns the errors of zod into problems with position and suggestion.
 * Check `isSound` before reading a part.
 * Guarantees: one problem per error, at the deepest invalid place; unknown keys are reported with the closest known
 * key.
 */
import type { z } from 'zod';
import { closestOf } from './closest.ts';
import type { ConfigPath } from './locate.ts';
import { type Problems, pathText, quoted } from './problems.ts';
import { FOREIGN_SERVER_KEYS, FOREIGN_TOP_KEYS, fileSchema, keysAt, originalFileSchema } from './schema.ts';

export interface Shape {
  /** Returns true when nothing at, above or below this path has the wrong type. Unknown keys do not count. */
  isSound(path: ConfigPath): boolean;
}

export function checkShape(value: unknown, problems: Problems): Shape {
  const hasOriginalGroups = isObject(value) && Array.isArray(value.groups);
  const checked = (hasOriginalGroups ? originalFileSchema : fileSchema).safeParse(value);
  const faults = (checked.error?.issues ?? []).flatMap((issue) => faultsFrom(issue, []));
  const broken = new Set<string>();
  const aroundBroken = new Set<string>();
  const named = new Set<string>();
  const markBroken = (path: ConfigPath): void => {
    broken.add(pathText(path));
    for (let depth = 0; depth < path.length; depth += 1) aroundBroken.add(pathText(path.slice(0, depth)));
  };
  for (const { path, issue } of faults) {
    // An unknown key does not prevent reading the others, but the key that was meant is not really missing.
    if (issue.code !== 'unrecognized_keys') markBroken(path);
    else {
      for (const meant of reportUnknown(path, issue.keys, problems)) {
        named.add(pathText(meant));
        markBroken(meant);
      }
    }
  }
  for (const fault of faults) report(fault, { root: value, named, problems });
  return {
    isSound: (path) => {
      if (aroundBroken.has(pathText(path))) return false;
      return !path.some((_, depth) => broken.has(pathText(path.slice(0, depth + 1)))) && !broken.has('');
    },
  };
}

type Issue = z.core.$ZodIssue;
interface Fault {
  readonly path: ConfigPath;
  readonly issue: Issue;
}

/** Of the branches of a union, the one that matched deepest is the one that was meant. */
function faultsFrom(issue: Issue, prefix: ConfigPath): Fault[] {
  const path = [...prefix, ...issue.path.map((key) => (typeof key === 'symbol' ? String(key) : key))];
  if (issue.code === 'invalid_union') {
    const meant = issue.errors.find((branch) => branch.some((inner) => inner.path.length > 0));
    if (meant) return meant.flatMap((inner) => faultsFrom(inner, path));
  }
  return [{ path, issue }];
}

/** Returns the places of the keys that were probably meant. */
function reportUnknown(path: ConfigPath, keys: readonly string[], problems: Problems): ConfigPath[] {
  const where = path.length === 0 ? '' : ` in ${pathText(path)}`;
  return keys.flatMap((key) => {
    const meant = keyMeantBy(key, path);
    const question = meant === undefined ? '' : `; did you mean ${quoted(meant)}?`;
    problems.error([...path, key], `unknown key${where}${question}`, undefined, 'key');
    return meant === undefined ? [] : [[...path, meant]];
  });
}

interface Report {
  readonly root: unknown;
  /** Places of keys that are present under a wrong name. */
  readonly named: ReadonlySet<string>;
  readonly problems: Problems;
}

function report({ path, issue }: Fault, { root, named, problems }: Report): void {
  if (issue.code === 'unrecognized_keys') return;
  const found = valueAt(root, path);
  const expected = expectedText(issue);
  if (found === undefined) {
    if (!named.has(pathText(path))) problems.error(path, 'is missing', expected);
    return;
  }
  const subject = path.length === 0 ? 'the top of the file is' : 'is';
  problems.error(path, `${subject} ${issue.code === 'invalid_value' ? shown(found) : kindOf(found)}`, expected);
}

/** Names that other programs use for these keys. */
const OTHER_NAMES: Readonly<Record<string, string>> = {
  servers: 'mcpServers',
  mcp: 'mcpServers',
  environment: 'env',
  envs: 'env',
  cmd: 'command',
  arguments: 'args',
  httpUrl: 'url',
  serverUrl: 'url',
  uri: 'url',
  transport: 'type',
  transportType: 'type',
  timeout: 'callTimeoutMs',
  workingDirectory: 'cwd',
};

function keyMeantBy(key: string, path: ConfigPath): string | undefined {
  const known = keysAt(path).filter(
    (name) => !Object.hasOwn(FOREIGN_SERVER_KEYS, name) && !Object.hasOwn(FOREIGN_TOP_KEYS, name),
  );
  const other = Object.hasOwn(OTHER_NAMES, key) ? OTHER_NAMES[key] : undefined;
  return other !== undefined && known.includes(other) ? other : closestOf(key, known);
}

const KIND_WORDS: Readonly<Record<string, string>> = {
  string: 'a text',
  number: 'a number',
  boolean: 'true or false',
  array: 'a list [ … ]',
  object: 'an object { … }',
  record: 'an object { … }',
};

function expectedText(issue: Issue): string | undefined {
  if (issue.code === 'invalid_type') return KIND_WORDS[issue.expected] ?? issue.expected;
  if (issue.code === 'invalid_value') return issue.values.map((value) => quoted(String(value))).join(', ');
  return issue.code === 'invalid_union' ? issue.message : undefined;
}

/** Shows short plain words only; anything else may be a secret in the wrong place. */
function shown(value: unknown): string {
  return typeof value === 'string' && /^[\w-]{1,24}$/.test(value) ? quoted(value) : kindOf(value);
}

function kindOf(value: unknown): string {
  if (value === null || typeof value === 'boolean') return String(value);
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'string') return 'a text';
  if (typeof value === 'number') return Number.isFinite(value) ? 'a number' : 'too large a number';
  return 'an object';
}

function valueAt(root: unknown, path: ConfigPath): unknown {
  let value = root;
  for (const key of path) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, key)) return undefined;
    value = (value as Record<string | number, unknown>)[key];
  }
  return value;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
