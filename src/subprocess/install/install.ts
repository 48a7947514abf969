/**
 * The install phase of a server that a package runner starts: a download takes minutes, a start seconds, and a start
 * that is killed during a download would begin again each time.
 * Guarantees: does nothing when the package is in node_modules or in the runner's cache; a failure names the package
 * and shows the runner's last lines.
 */
import { createHash } from 'node:crypto';
import { access } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { HubError } from '../../model/errors.ts';
import type { Deadline } from '../../runtime/deadline.ts';
import type { Runtime } from '../../runtime/runtime.ts';
import { strippedHint } from '../prepare/environment.ts';
import type { Isolation } from '../spawn/isolation.ts';
import { runProgram } from '../spawn/run-program.ts';
import type { InstallLock } from './install-lock.ts';
import type { InstallPlan } from './install-plan.ts';

export interface InstallParts {
  readonly runtime: Runtime;
  readonly owner: string;
  readonly plan: InstallPlan;
  /** Absolute path of the runner. */
  readonly file: string;
  readonly cwd: string;
  readonly env: Readonly<Record<string, string>>;
  /** Variables whose credentials were removed. */
  readonly stripped: readonly string[];
  readonly isolation: Isolation;
  readonly budgetMs: number;
  readonly lock: InstallLock;
  /** Called when something has to be installed. */
  readonly begun: () => void;
  readonly said: (line: string) => void;
}

const TAIL_LINES = 8;
const PARENTS = 32;

export async function installFirst(parts: InstallParts, deadline: Deadline): Promise<void> {
  const { runtime, owner, plan, lock } = parts;
  if (lock.isDone(plan.key)) return;
  if (!lock.isDoubted(plan.key)) {
    const found = await runtime.waits.for(isThere(parts), { label: 'upstream-install', owner, deadline });
    if (found) return lock.markDone(plan.key);
  }
  parts.begun();
  const request = { key: plan.key, owner, budgetMs: parts.budgetMs, install: (own: Deadline) => install(parts, own) };
  try {
    await lock.once(request, deadline);
  } catch (fault) {
    const given = fault instanceof HubError && fault.code === 'wait-expired';
    if (!given || deadline.ended === undefined) throw fault;
    throw new HubError('server-starting', {
      message: `${plan.packages.join(', ')} is still being installed.`,
      detail: { server: owner, phase: 'install', setting: 'installMs' },
      cause: fault,
    });
  }
}

async function install(parts: InstallParts, deadline: Deadline): Promise<void> {
  const { runtime, owner, plan, file, cwd, env, isolation, budgetMs } = parts;
  const hint = strippedHint(parts.stripped);
  const what = plan.packages.join(', ');
  const fault = (why: string, cause?: unknown) =>
    new HubError('upstream-spawn', {
      message: `Installing ${what} with ${plan.runner} failed: ${why}${hint}`,
      detail: { server: owner, phase: 'install', setting: 'installMs', operator: { command: file } },
      cause,
    });
  let end: Awaited<ReturnType<typeof runProgram>>;
  try {
    end = await runProgram(
      { runtime, owner, label: 'upstream-install', file, args: plan.args, cwd, env, isolation },
      parts.said,
      deadline,
    );
  } catch (cause) {
    if (deadline.ended === 'time-up') throw fault(`not done after ${budgetMs} ms (setting installMs)`, cause);
    throw fault(cause instanceof Error ? cause.message : 'it could not be started', cause);
  }
  if (end.code === 0) return;
  // For uvx and pnpm this is a guess about their caches: if it is wrong, the start itself fails with the reason.
  if (plan.runner !== 'npx') {
    if (hint !== '') parts.said(`${plan.runner} ended with ${end.signal ?? `exit code ${end.code}`}.${hint}`);
    return;
  }
  throw fault(`${end.signal ?? `exit code ${end.code}`}\n${end.tail.slice(-TAIL_LINES).join('\n')}`);
}

/**
 * Tells whether the package is available. npx only: in a node_modules above the working directory, or complete in npx's
 * cache.
 */
async function isThere({ plan, cwd, env }: InstallParts): Promise<boolean> {
  if (plan.runner !== 'npx') return false;
  const names = plan.packages.map(packageName);
  for (let at = cwd, step = 0; step < PARENTS; at = dirname(at), step += 1) {
    const modules = join(at, 'node_modules');
    if (plan.bin !== undefined && (await exists(join(modules, '.bin', plan.bin)))) return true;
    if (await allExist(names.map((name) => join(modules, name, 'package.json')))) return true;
    if (dirname(at) === at) break;
  }
  const cache = env.npm_config_cache ?? (env.HOME === undefined ? undefined : join(env.HOME, '.npm'));
  if (cache === undefined) return false;
  const modules = join(cache, '_npx', npxFolder(plan.packages), 'node_modules');
  // npm writes this file last: without it, the folder is left from an install that was interrupted.
  const proofs = [join(modules, '.package-lock.json'), ...names.map((name) => join(modules, name, 'package.json'))];
  return allExist(proofs);
}

/** Returns npx's folder for a set of packages, named as npm's libnpmexec does. */
function npxFolder(packages: readonly string[]): string {
  const sorted = [...packages].sort((a, b) => a.localeCompare(b, 'en'));
  return createHash('sha512').update(sorted.join('\n')).digest('hex').slice(0, 16);
}

/** `@scope/name@1.2` → `@scope/name`. */
function packageName(spec: string): string {
  const at = spec.indexOf('@', 1);
  return at < 0 ? spec : spec.slice(0, at);
}

async function allExist(files: readonly string[]): Promise<boolean> {
  for (const file of files) if (!(await exists(file))) return false;
  return true;
}

async function exists(file: string): Promise<boolean> {
  try {
    await access(file);
    return true;
  } catch {
    return false;
  }
}
