/**
 * Recognises servers that run in containers. The hub starts a client (`docker run`), and the container is a child of
 * another process: whether it ends with its client depends on the arguments.
 */
import { basename } from 'node:path';

const PROGRAMS: ReadonlySet<string> = new Set(['docker', 'podman', 'nerdctl']);
const NEEDED = ['--rm', '--init'] as const;
/** `docker compose run` supports neither `--init` nor the filters of `docker ps`. */
const COMPOSE = 'compose';
const IN_A_SHELL = /\b(?:docker|podman|nerdctl)\b.*\brun\b/s;

/** Labels that `subprocess/terminate/containers.ts` sets. */
const LABEL = /^mcphub\./;
const LABEL_OPTION = /^(?:--label=|-l=?)mcphub\./;
const LABEL_OPTIONS: ReadonlySet<string> = new Set(['--label', '-l']);

/** The position of `run` in a command line that starts a container itself. */
export interface ContainerRun {
  /** Arguments before `run` that other commands for the same containers need as well: `--context name`, `container`. */
  readonly before: readonly string[];
  /** Index of `run`. */
  readonly at: number;
  /** True when the container is removed at its end (`--rm`). */
  readonly isRemoved: boolean;
}

/**
 * Returns where the command starts a container, or undefined when it does not, or only through another program (a
 * shell, `sudo`, `docker compose`, `docker exec`).
 */
export function containerRun(command: string, args: readonly string[]): ContainerRun | undefined {
  if (!PROGRAMS.has(basename(command, '.exe'))) return undefined;
  const at = args.indexOf('run');
  if (at < 0 || args.slice(0, at).includes(COMPOSE)) return undefined;
  return { before: args.slice(0, at), at, isRemoved: has(args, '--rm') };
}

/**
 * Returns what is missing in a command line that starts a container, or undefined. Without `--init` a program that is
 * PID 1 of its container may ignore SIGTERM; without `--rm` the container is left behind; a container that another
 * program starts (a shell, `sudo`) cannot be found by the hub.
 */
export function missingForContainer(command: string, args: readonly string[]): string | undefined {
  if (containerRun(command, args)) {
    const missing = NEEDED.filter((option) => !has(args, option));
    return missing.length === 0 ? undefined : `${missing.join(' and ')} after run`;
  }
  const name = basename(command, '.exe');
  if (PROGRAMS.has(name)) return args.includes('run') && !has(args, '--rm') ? '--rm after run' : undefined;
  return IN_A_SHELL.test(args.join(' ')) ? 'docker, podman or nerdctl as the command itself' : undefined;
}

/** Returns the index of the first argument that sets a label by which the hub finds its containers, or undefined. */
export function ownLabel(command: string, args: readonly string[]): number | undefined {
  const run = containerRun(command, args);
  if (run === undefined) return undefined;
  const at = args.findIndex((one, index) => {
    if (index <= run.at) return false;
    return LABEL_OPTION.test(one) || (LABEL_OPTIONS.has(args[index - 1] ?? '') && LABEL.test(one));
  });
  return at < 0 ? undefined : at;
}

function has(args: readonly string[], option: string): boolean {
  return args.some((one) => one === option || one === `${option}=true`);
}
