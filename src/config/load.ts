/**
 * Finds, reads and parses the configuration, at start and at every reload. Whoever reloads keeps the old configuration
 * when the new one is invalid.
 * Guarantees: errors in the file are returned as problems; rejects only when the deadline passes; environment,
 * directories and flags come from the caller; writes nothing.
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
  /** Value of `--config`. */
  readonly path?: string | undefined;
  readonly env: Environment;
  /** Absolute path. */
  readonly cwd: string;
  readonly home: string;
  /** The packaged example, used when no other file exists. */
  readonly fallback?: string | undefined;
  /** Limits from the command line, which take precedence. */
  readonly flags?: LimitFlags | undefined;
  /** Shows the reading in the table of waits of a process. */
  readonly runtime?: Pick<Runtime, 'waits'> | undefined;
  readonly deadline: Deadline;
}

/**
 * Returns the configuration. Without any file there are no servers: a warning, and the limits of environment and flags.
 * A named file that does not exist is an error.
 */
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

/** Returns the file that `loadConfig` would read, and why. */
export async function findConfigFile(options: Omit<LoadOptions, 'flags'>): Promise<FoundFile | undefined> {
  return find(searchFrom(options, waitsOf(options)));
}

function searchFrom({ path, env, cwd, home, fallback, deadline }: LoadOptions, waits: Waits): FileSearch {
  return { path, env, cwd, home, fallback, waits, deadline };
}

/** A command-line tool without a runtime uses its own table of waits, so that every wait still ends. */
function waitsOf({ runtime, deadline }: LoadOptions): Waits {
  return runtime?.waits ?? new Waits(deadline.clock, new ContainerLimits(), 16, () => {});
}

function atFile(severity: ConfigProblem['severity'], file: string, message: string): ConfigProblem {
  return { severity, file, line: 0, column: 0, path: '', message, expected: undefined };
}
