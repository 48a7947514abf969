/**
 * Reads the command line of a package runner (npx, npm exec, uvx, uv tool run, pnpm dlx) and returns how to install its
 * packages without a start: the same runner with the same packages runs a program that ends at once, which fills the
 * same cache.
 * Guarantees: pure functions; with an unknown option there is no plan, and the runner installs during the start.
 */
import { basename } from 'node:path';
import type { ProcessSpec } from '../../model/snapshot.ts';

export interface InstallPlan {
  /** Equal keys need the same files, which are installed once. */
  readonly key: string;
  /** For people. */
  readonly packages: readonly string[];
  /** Arguments for the same command. */
  readonly args: readonly string[];
  /** npx only: the name that it first looks for in node_modules/.bin; undefined when packages were given by option. */
  readonly bin: string | undefined;
  readonly runner: 'npx' | 'uvx' | 'pnpm';
}

interface OptionTable {
  /** Options that name packages. */
  readonly packages: readonly string[];
  /** Options with a value, which are passed on. */
  readonly valued: readonly string[];
  /** Options without a value, which are passed on. */
  readonly flags: readonly string[];
  /** Options without a value, which are dropped. */
  readonly dropped: readonly string[];
}

interface ReadLine {
  readonly packages: readonly string[];
  readonly passed: readonly string[];
  readonly program: string;
}

const NPX: OptionTable = {
  packages: ['-p', '--package'],
  valued: ['--registry', '--cache', '--userconfig', '--loglevel'],
  flags: ['-q', '--quiet', '--silent', '--prefer-offline', '--prefer-online', '--offline'],
  dropped: ['-y', '--yes'],
};
const UVX: OptionTable = {
  packages: ['--from'],
  valued: ['--with', '--python', '-p', '--index-url', '--extra-index-url', '--index', '--default-index', '--cache-dir'],
  flags: ['-q', '--quiet', '--offline', '--native-tls', '--no-config', '--isolated'],
  dropped: [],
};
const PNPM: OptionTable = { packages: ['--package'], valued: ['--registry'], flags: ['--silent', '-s'], dropped: [] };

/** Returns the plan; undefined when the start needs no separate install. */
export function installPlan({ command, args, env }: ProcessSpec): InstallPlan | undefined {
  const name = basename(command).replace(/\.(cmd|exe|ps1)$/, '');
  const settings = Object.entries(env).filter(([key]) => /^(npm_config_|UV_|PIP_)/i.test(key));
  const plan = planFor(name, args);
  if (!plan || plan.packages.some(isPath)) return undefined;
  return { ...plan, key: JSON.stringify([plan.runner, plan.args, settings.sort()]) };
}

function planFor(name: string, args: readonly string[]): Omit<InstallPlan, 'key'> | undefined {
  if (name === 'npx') return npxPlan([], args);
  if (name === 'npm' && (args[0] === 'exec' || args[0] === 'x')) return npxPlan(['exec'], args.slice(1));
  if (name === 'uvx') return uvxPlan([], args);
  if (name === 'uv' && args[0] === 'tool' && args[1] === 'run') return uvxPlan(['tool', 'run'], args.slice(2));
  if (name === 'pnpm' && args[0] === 'dlx') return pnpmPlan(args.slice(1));
  return undefined;
}

function npxPlan(before: readonly string[], args: readonly string[]): Omit<InstallPlan, 'key'> | undefined {
  const line = readLine(args, NPX);
  if (!line) return undefined;
  const packages = line.packages.length > 0 ? line.packages : [line.program];
  const named = packages.map((spec) => `--package=${spec}`);
  return {
    packages,
    args: [...before, '--yes', ...line.passed, ...named, '--', 'node', '-e', '0'],
    bin: line.packages.length > 0 ? undefined : line.program,
    runner: 'npx',
  };
}

function uvxPlan(before: readonly string[], args: readonly string[]): Omit<InstallPlan, 'key'> | undefined {
  const line = readLine(args, UVX);
  if (!line || line.packages.length > 1 || /^python([@\d.<>=]|$)/.test(line.program)) return undefined;
  // `--from` needs a requirement; the short form `tool@1.2` is only valid for the name of the tool.
  const from = line.packages[0] ?? line.program.replace(/^([A-Za-z0-9._-]+)@(\d[^@]*)$/, '$1==$2');
  return {
    packages: [from],
    args: [...before, ...line.passed, '--from', from, 'python', '-c', ''],
    bin: undefined,
    runner: 'uvx',
  };
}

function pnpmPlan(args: readonly string[]): Omit<InstallPlan, 'key'> | undefined {
  const line = readLine(args, PNPM);
  if (!line) return undefined;
  const packages = line.packages.length > 0 ? line.packages : [line.program];
  const named = packages.map((spec) => `--package=${spec}`);
  return { packages, args: [...line.passed, ...named, 'dlx', 'node', '-e', '0'], bin: undefined, runner: 'pnpm' };
}

/** Returns the options before the first other word; undefined when one is unknown or the program is missing. */
function readLine(args: readonly string[], table: OptionTable): ReadLine | undefined {
  const packages: string[] = []; // bounded by: the command line
  const passed: string[] = []; // bounded by: the command line
  const words = args.values();
  for (const arg of words) {
    if (arg === '--') return withProgram(packages, passed, words.next().value);
    if (!arg.startsWith('-')) return withProgram(packages, passed, arg);
    const equals = arg.indexOf('=');
    const option = equals < 0 ? arg : arg.slice(0, equals);
    if (table.dropped.includes(arg)) continue;
    if (table.flags.includes(arg)) {
      passed.push(arg);
      continue;
    }
    const value = equals < 0 ? words.next().value : arg.slice(equals + 1);
    if (value === undefined) return undefined;
    if (table.packages.includes(option)) packages.push(value);
    else if (table.valued.includes(option)) passed.push(option, value);
    else return undefined;
  }
  return undefined;
}

function withProgram(packages: string[], passed: string[], program: string | undefined): ReadLine | undefined {
  return program === undefined || program === '' ? undefined : { packages, passed, program };
}

function isPath(spec: string): boolean {
  return /^(\.|\/|~|file:|[A-Za-z]:[\\/])/.test(spec);
}
