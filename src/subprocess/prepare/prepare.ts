/**
 * Turns the specification of a server into a child that can be spawned: working directory, search path, environment,
 * program, and an installed package. Used for stdio servers and for HTTP servers that the hub launches.
 * Guarantees: everything that makes a start fail is found here and named (`upstream-spawn`); the install phase has its
 * own time limit.
 */
import { resolve } from 'node:path';
import type { Limits } from '../../config/limits.ts';
import { HubError } from '../../model/errors.ts';
import type { LinkPhase } from '../../model/events.ts';
import { sentence } from '../../model/sentence.ts';
import type { ProcessSpec, ServerSpec } from '../../model/snapshot.ts';
import type { Deadline } from '../../runtime/deadline.ts';
import type { Runtime } from '../../runtime/runtime.ts';
import { installFirst } from '../install/install.ts';
import type { InstallLock } from '../install/install-lock.ts';
import { installPlan } from '../install/install-plan.ts';
import type { ChildExit, ChildPlan } from '../spawn/child.ts';
import { sameUser } from '../spawn/isolation.ts';
import { containerPlan, endForgotten } from '../terminate/containers.ts';
import { findCommand } from './command.ts';
import { childEnvironment, notInheritedHint } from './environment.ts';
import type { SearchPath } from './search-path.ts';

/** The dependencies of every child. */
export interface ChildDeps {
  readonly runtime: Runtime;
  readonly limits: Limits;
  readonly spec: ServerSpec;
  readonly process: ProcessSpec;
  /** Directory of the configuration file; relative working directories start here. */
  readonly configDir: string;
  /** The hub's mark; a child's own mark begins with it. */
  readonly mark: string;
  readonly installLock: InstallLock;
  readonly searchPath: SearchPath;
}

export interface PrepareSteps {
  readonly stdin: 'pipe' | 'ignore';
  readonly stdout: 'frames' | 'text';
  readonly phase: (phase: LinkPhase) => void | Promise<void>;
  readonly said: (line: string) => void;
}

const MARK_DIGITS = 1e9;

/** Returns the fault when other children took too long to start. */
export function turnFault(owner: string): HubError {
  return new HubError('server-starting', {
    message: `${owner} could not start in time: too many servers were starting (setting starting).`,
    detail: { phase: 'queue', setting: 'starting' },
  });
}

/**
 * Returns the plan, and the key of its install if it has one. Throws HubError `upstream-spawn` or `server-starting`
 * (still installing).
 */
export async function prepareChild(
  deps: ChildDeps,
  steps: PrepareSteps,
  deadline: Deadline,
): Promise<{ plan: ChildPlan; installKey: string | undefined }> {
  const { runtime, limits, spec, searchPath } = deps;
  const owner = spec.slug;
  const cwd = resolve(deps.configDir, deps.process.cwd ?? '.');
  const file = await findFile(deps, cwd, deadline);
  const mark = `${deps.mark}.${owner}.${serial(runtime)}`;
  const path = deps.process.env.PATH ?? searchPath.current();
  const { env, stripped } = childEnvironment({ inherited: process.env, own: deps.process.env, path, mark });
  const isolation = sameUser(await searchPath.lifeline(deadline));
  const install = installPlan(deps.process);
  if (install) {
    const budgetMs = spec.installMs ?? limits.installMs;
    await installFirst(
      {
        runtime,
        owner,
        plan: install,
        file,
        cwd,
        env,
        stripped,
        isolation,
        budgetMs,
        lock: deps.installLock,
        begun: () => void steps.phase('install'),
        said: steps.said,
      },
      deadline,
    );
  }
  const command = {
    runtime,
    limits,
    owner,
    mark,
    file,
    cwd,
    env,
    isolation,
    label: 'upstream-start',
    args: deps.process.args,
    stdin: steps.stdin,
    stdout: steps.stdout,
  } satisfies ChildPlan;
  const container = await containerPlan(command, deps, deadline);
  // Before the turn, because a container tool that hangs must not delay other servers.
  if (container) await endForgotten(command, container, deadline);
  // After an install the starts of others come first: packages that install at once would otherwise start at once.
  const turn = steps.phase('start');
  if (turn instanceof Promise)
    await runtime.waits.for(turn, { label: 'upstream-start', owner, deadline }).catch((fault: unknown) => {
      throw deadline.ended === 'time-up' ? turnFault(owner) : fault;
    });
  const plan: ChildPlan = container ? { ...command, args: container.args, container } : command;
  return { plan, installKey: install?.key };
}

/** Searches the path known now, then the one with the login shell's additions. */
async function findFile(deps: ChildDeps, cwd: string, deadline: Deadline): Promise<string> {
  const { runtime, spec, searchPath } = deps;
  const { command, env } = deps.process;
  const look = () =>
    runtime.waits.for(findCommand({ command, cwd, path: env.PATH ?? searchPath.current() }), {
      label: 'upstream-start',
      owner: spec.slug,
      deadline,
    });
  const before = searchPath.current();
  try {
    return await look();
  } catch (fault) {
    if (deadline.ended !== undefined) throw fault;
    await searchPath.settled(deadline);
    if (searchPath.current() === before) throw fault;
    return look();
  }
}

/** Returns a serial number that no other child of this hub has: a sweep after an old child must not find a new one. */
function serial(runtime: Runtime): string {
  return `${Math.floor(runtime.clock.nowMs()).toString(36)}${Math.floor(runtime.random() * MARK_DIGITS).toString(36)}`;
}

export interface ExitWords {
  /** Last lines of stderr, or of all output if stdout carries no protocol. */
  readonly lastWords: string;
  /** The last line of stdout that was no message. */
  readonly stray?: string | undefined;
  /** Its output ended in the middle of a message. */
  readonly isCut?: boolean | undefined;
  /** Size of the last request that was written to it; 0 when there was none. */
  readonly requestBytes?: number;
  /** From the specification. */
  readonly env: Readonly<Record<string, string>>;
}

export function exitFault(server: string, exit: ChildExit, words: ExitWords): HubError {
  const { lastWords, stray, isCut = false, requestBytes = 0, env } = words;
  const when = isCut ? ' while it sent a response' : '';
  const how = exit.signal === null ? `exit code ${exit.code}` : `signal ${exit.signal}`;
  const said = lastWords === '' ? 'It wrote nothing to stderr.' : `Its last lines:\n${lastWords.trimEnd()}`;
  const more = [
    stray === undefined ? '' : `On stdout, no message: ${sentence(stray)}`,
    requestBytes === 0 ? '' : `The last request to it had ${requestBytes} bytes.`,
    notInheritedHint(`${lastWords} ${stray ?? ''}`, { inherited: process.env, own: env }).trim(),
  ].filter((part) => part !== '');
  return new HubError('upstream-exit', {
    message: `The process of ${server} exited${when} (${how}). ${[said, ...more].join(lastWords === '' && stray === undefined ? ' ' : '\n')}`,
    detail: { server, exitCode: exit.code, signal: exit.signal },
  });
}
