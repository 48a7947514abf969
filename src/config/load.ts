/**
 * The room's door: finds, reads and parses the configuration, at start and at every reload.
 * Promises: never rejects for what a file holds or lacks (a problem says it), only when the deadline passes; reads nothing of the process
 * (environment, directories and flags are given); writes nothing.
 * Does not: keep the old configuration when the new one is wrong; whoever reloads does.
 */
import { ContainerLimits } from '../runtime/capped.ts';
import type { Deadline } from '../runtime/deadline.ts';
import type { Runtime } from '../runtime/runtime.ts';
import { Waits } from '../runtime/waits.ts';
import { type FileSearch, type FoundFile, findConfigFile as find, placesOf, readConfigText } from './config-file.ts';
import type { LimitFlags } from './limit-values.ts';
import { configWithoutFile, contentDigest, type Loaded, parseConfig } from './parse.ts';
import type { ConfigProblem } from './problems.ts';
import type { Environment } from './variables.ts';

export type { FoundFile } from './config-file.ts';
export { explain } from './explain.ts';
export type { GroupConfig } from './groups.ts';
export type { LimitFlags } from './limit-values.ts';
export { type Config, type Loaded, parseConfig } from './parse.ts';
export { type ConfigProblem, formatProblems } from './problems.ts';
export type { ServerConfig } from './servers.ts';

export interface LoadOptions {
  /** `--config`. */
  readonly path?: string | undefined;
  readonly env: Environment;
  /** Absolute. */
  readonly cwd: string;
  readonly home: string;
  /** The packaged example, taken when there is nothing else. */
  readonly fallback?: string | undefined;
  /** Limits from the command line; they win. */
  readonly flags?: LimitFlags | undefined;
  /** Makes the reading visible among the waits of a process. */
  readonly runtime?: Pick<Runtime, 'waits'> | undefined;
  readonly deadline: Deadline;
}

/** Without any file there are no servers: a warning, and the limits of environment and flags. A named file that is not there is an error. */
export async function loadConfig(options: LoadOptions): Promise<Loaded> {
  const { env, cwd, home, flags = {}, deadline } = options;
  const waits = waitsOf(options);
  const found = await find(searchFrom(options, waits));
  if (found === undefined) {
    const places = placesOf({ env, cwd, home }).map(({ file }) => file);
    return configWithoutFile(
      env,
      flags,
      atFile('warning', '', `no configuration file; looked for ${places.join(', ')}`),
    );
  }
  const { file } = found;
  const read = await readConfigText(file, waits, deadline);
  if ('text' in read) {
    const loaded = parseConfig(read.text, file, env, flags);
    if (read.writers === undefined) return loaded;
    const words = `can be written by ${read.writers}; whoever writes it decides which programs the hub starts. Run: chmod go-w ${file}`;
    return { ...loaded, problems: [...loaded.problems, atFile('warning', file, words)] };
  }
  const digest = contentDigest(`${file} ${read.fault}`, undefined);
  return { config: undefined, problems: [atFile('error', file, read.fault)], sources: [], file, digest };
}

/** Which file `loadConfig` would read, and why that one. */
export async function findConfigFile(options: Omit<LoadOptions, 'flags'>): Promise<FoundFile | undefined> {
  return find(searchFrom(options, waitsOf(options)));
}

function searchFrom({ path, env, cwd, home, fallback, deadline }: LoadOptions, waits: Waits): FileSearch {
  return { path, env, cwd, home, fallback, waits, deadline };
}

/** A tool without a kernel has a ledger of its own; the rule that every wait ends stays. */
function waitsOf({ runtime, deadline }: LoadOptions): Waits {
  return runtime?.waits ?? new Waits(deadline.clock, new ContainerLimits(), 16, () => {});
}

function atFile(severity: ConfigProblem['severity'], file: string, message: string): ConfigProblem {
  return { severity, file, line: 0, column: 0, path: '', message, expected: undefined };
}
