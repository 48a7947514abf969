/**
 * Converts the text of a configuration to a frozen Config, or to a list of all its errors. `load.ts` reads files.
 * Guarantees: pure; never throws; reports all errors at once with their lines; with any error there is no Config, so
 * that a partial file is never used; messages contain no secrets.
 */
import { createHash } from 'node:crypto';
import type { Snapshot } from '../model/snapshot.ts';
import { type Explained, explainPart } from './explain.ts';
import { warnOfExposure } from './exposure.ts';
import { type GroupConfig, readGroup, readOriginalGroups } from './groups.ts';
import { type LimitFlags, readLimits } from './limit-values.ts';
import { LIMITS, type Limits } from './limits.ts';
import { type ConfigPath, readJsonc } from './locate.ts';
import { type ConfigProblem, Problems, pathText, quoted } from './problems.ts';
import { FOREIGN_TOP_KEYS, type RawGroup, type RawOriginalGroup, type RawServer } from './schema.ts';
import { checkName, readServer, type ServerConfig } from './servers.ts';
import { readSettings } from './settings.ts';
import { checkShape, type Shape } from './shape.ts';
import { slugFrom } from './slug.ts';
import type { Environment } from './variables.ts';

/** The complete configuration with variables expanded. Frozen. Contains secrets. */
export interface Config {
  /** Undefined when there is no file, and so no servers. */
  readonly file: string | undefined;
  readonly servers: readonly ServerConfig[];
  readonly groups: readonly GroupConfig[];
  readonly limits: Limits;
  /** Limits that differ from their defaults, as a snapshot carries them. */
  readonly limitOverrides: Readonly<Record<string, number>>;
  readonly settings: Snapshot['settings'];
  /** True when the file is checked regularly and applied after its content has changed. */
  readonly watchConfig: boolean;
}

export interface Loaded {
  /** Undefined when there is any error. */
  readonly config: Config | undefined;
  readonly problems: readonly ConfigProblem[];
  readonly sources: readonly Explained[];
  /** The file that was read, or undefined when there is none. */
  readonly file: string | undefined;
  /** Equal for the same file with the same content, or missing for the same reason. */
  readonly digest: string;
}

/**
 * Parses a configuration. `file` is shown in problems and is the base of relative directories; `flags` are limits from
 * the command line.
 */
export function parseConfig(text: string, file: string, env: Environment, flags: LimitFlags = {}): Loaded {
  const source = readJsonc(text);
  const problems = new Problems(file, source.positionOf);
  for (const { path, ...rest } of [...source.syntax, ...source.keys]) {
    problems.add({ severity: 'error', file, path: pathText(path), ...rest });
  }
  const lineOf = (path: ConfigPath): number => source.positionOf(path, 'value').line;
  const readable = source.syntax.length === 0;
  const shape = readable ? checkShape(source.value, problems) : { isSound: () => false };
  const digest = contentDigest(file, text);
  return read({ root: rootOf(source.value), shape, problems, env, flags, file, lineOf, digest });
}

/** Returns the configuration without a file: no servers, and the limits of environment and flags. */
export function configWithoutFile(env: Environment, flags: LimitFlags, missing: ConfigProblem): Loaded {
  const problems = new Problems('', () => ({ line: 0, column: 0 }));
  problems.add(missing);
  const shape = { isSound: () => true };
  const digest = contentDigest('', undefined);
  return read({ root: {}, shape, problems, env, flags, file: undefined, lineOf: () => 0, digest });
}

/** Returns the digest of a file's content; `text` is undefined when it could not be read. */
export function contentDigest(file: string, text: string | undefined): string {
  const hash = createHash('sha256').update(JSON.stringify([file, text === undefined]));
  return hash
    .update(text ?? '')
    .digest('hex')
    .slice(0, 32);
}

interface Reading {
  readonly root: Readonly<Record<string, unknown>>;
  readonly shape: Shape;
  readonly problems: Problems;
  readonly env: Environment;
  readonly flags: LimitFlags;
  readonly file: string | undefined;
  readonly lineOf: (path: ConfigPath) => number;
  readonly digest: string;
}

function read(reading: Reading): Loaded {
  const { root, problems, file } = reading;
  for (const key of Object.keys(FOREIGN_TOP_KEYS)) {
    if (root[key] !== undefined) problems.warning([key], 'has no effect here', undefined, 'key');
  }
  const limitsRead = readLimits({
    file: soundEntries<number | string>(reading, 'limits'),
    env: reading.env,
    flags: reading.flags,
    problems,
    lineOf: (name) => reading.lineOf(['limits', name]),
  });
  const { settings, watchConfig, sources } = readSettings({
    file: soundEntries(reading, 'settings'),
    env: reading.env,
    problems,
    lineOf: reading.lineOf,
  });
  const servers = readServers(reading, limitsRead.limits);
  const groups = readGroups(reading, servers.leftOut);
  warnOfExposure({ env: reading.env, settings, groups }, problems);
  const { limits, overrides: limitOverrides } = limitsRead;
  const config = { file, servers: servers.list, groups, limits, limitOverrides, settings, watchConfig };
  return deepFreeze({
    config: problems.errors === 0 ? config : undefined,
    problems: problems.list(),
    sources: [...limitsRead.sources, ...sources, ...explainParts(reading)],
    file,
    digest: reading.digest,
  });
}

function readServers(reading: Reading, limits: Limits): { list: ServerConfig[]; leftOut: ReadonlySet<string> } {
  const { problems, env, file = '' } = reading;
  const all = objectAt(reading.root, 'mcpServers');
  const names = Object.keys(all);
  if (names.length > limits.servers) {
    const expected = `at most ${limits.servers} (limits.servers, at most ${LIMITS.servers.max})`;
    problems.error(['mcpServers'], `there are ${names.length} servers`, expected, 'key');
  }
  const list: ServerConfig[] = [];
  const leftOut = new Set<string>(); // bounded by: the file
  for (const name of names) {
    if (!checkName(name, ['mcpServers', name], problems)) continue;
    const raw = soundServer(name, reading);
    if (raw === undefined) continue;
    const errorsBefore = problems.errors;
    const server = readServer(name, raw, { problems, env, file, ownPort: limits.port });
    if (server) list.push(server);
    else if (problems.errors === errorsBefore) leftOut.add(name);
  }
  checkShortNames(names, 'mcpServers', problems);
  return { list, leftOut };
}

/** Without a valid value of these keys the rest of a server would be reported wrongly. */
const CORE_KEYS: readonly string[] = ['type', 'command', 'url', 'launch'];

/**
 * Returns the server without the keys of the wrong type, which were reported, so that its other errors show in the same
 * run.
 */
function soundServer(name: string, { root, shape }: Reading): RawServer | undefined {
  const raw = objectAt(root, 'mcpServers')[name];
  if (rootOf(raw) !== raw) return undefined;
  const isSoundKey = (key: string): boolean => shape.isSound(['mcpServers', name, key]);
  if (!CORE_KEYS.every(isSoundKey)) return undefined;
  // The schema has found no error at or below the remaining keys.
  return Object.fromEntries(Object.entries(raw as object).filter(([key]) => isSoundKey(key))) as RawServer;
}

function readGroups(reading: Reading, leftOut: ReadonlySet<string>): GroupConfig[] {
  const { root, shape, problems } = reading;
  const configured = new Set(Object.keys(objectAt(root, 'mcpServers')));
  const context = { problems, configured, leftOut };
  if (Array.isArray(root.groups)) {
    return shape.isSound(['groups']) ? readOriginalGroups(root.groups as RawOriginalGroup[], context) : [];
  }
  const groups: GroupConfig[] = [];
  const all = objectAt(root, 'groups');
  for (const [name, raw] of Object.entries(all)) {
    const group = shape.isSound(['groups', name]) ? readGroup(name, raw as RawGroup, context) : undefined;
    if (group) groups.push(group);
    if (configured.has(name)) {
      problems.warning(['groups', name], `a server has the same name; /mcp/${name} is the group`, undefined, 'key');
    }
  }
  checkShortNames(Object.keys(all), 'groups', problems);
  return groups;
}

/** Paths and exposed names use the short form, so two names must not share one. */
function checkShortNames(names: readonly string[], top: 'mcpServers' | 'groups', problems: Problems): void {
  const holders = new Map<string, string>(); // bounded by: the file
  for (const name of names) {
    const slug = slugFrom(name);
    const holder = holders.get(slug);
    if (holder === undefined) holders.set(slug, name);
    else
      problems.error(
        [top, name],
        `has the same short name ${quoted(slug)} as ${quoted(holder)}`,
        'another name',
        'key',
      );
  }
}

function explainParts({ root, shape, file, lineOf }: Reading): Explained[] {
  if (file === undefined) return [];
  return (['mcpServers', 'groups'] as const).flatMap((top) =>
    Object.entries(objectAt(root, top))
      .filter(([name]) => shape.isSound([top, name]))
      .flatMap(([name, value]) => explainPart(value, [top, name], { file, lineOf })),
  );
}

function soundEntries<T>({ root, shape }: Reading, top: string): Record<string, T> {
  const entries = Object.entries(objectAt(root, top)).filter(([key]) => shape.isSound([top, key]));
  return Object.fromEntries(entries) as Record<string, T>;
}

function rootOf(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : {};
}

function objectAt(root: Readonly<Record<string, unknown>>, key: string): Record<string, unknown> {
  return rootOf(root[key]);
}

function deepFreeze<T>(value: T): T {
  if (typeof value !== 'object' || value === null || Object.isFrozen(value)) return value;
  Object.freeze(value);
  for (const inner of Object.values(value)) deepFreeze(inner);
  return value;
}
