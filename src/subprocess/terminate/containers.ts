/**
 * Ends containers that outlive their client (`docker run`): SIGKILL of the client does not end its container.
 * Containers started by a shell, `sudo` or `docker compose` are not found.
 * Guarantees: only containers whose label names a child of a hub with this data directory, and only after that child's
 * processes have ended; ends by the deadline; never rejects. A container without `--rm` is killed and kept.
 */
import { createHash } from 'node:crypto';
import { type ContainerRun, containerRun } from '../../config/container-command.ts';
import type { ProcessSpec } from '../../model/snapshot.ts';
import { DESCENDANT_MARK } from '../../model/supervisor-messages.ts';
import type { Deadline } from '../../runtime/deadline.ts';
import { processSpace } from '../proc/processes.ts';
import type { GroupPlan } from '../spawn/group.ts';
import { type ProgramEnd, runProgram } from '../spawn/run-program.ts';
import { livingMarked } from './sweep.ts';

export interface ContainerPlan {
  readonly run: ContainerRun;
  /** Arguments of the client, with the labels. */
  readonly args: readonly string[];
  /** Value of the label for this child. */
  readonly mark: string;
  /**
   * Value of the label of all containers of this server whose clients this machine can see; undefined when clients
   * cannot be seen.
   */
  readonly scope: string | undefined;
}

type ToolPlan = Pick<GroupPlan, 'runtime' | 'owner' | 'file' | 'cwd' | 'env' | 'isolation'>;

const MARK_LABEL = 'mcphub.mark';
const SCOPE_LABEL = 'mcphub.server';
const SCOPE_DIGITS = 32;
/** Longest run of one command of the container tool, and of all steps before a start, ms. */
const TOOL_MS = 5000;
/** Children whose containers are ended before one start; the others are ended before the next. */
const FORGOTTEN = 16;

/** Returns the plan; undefined when the command starts no container. */
export async function containerPlan(
  plan: GroupPlan & { readonly mark: string },
  { process, mark: hubMark }: { readonly process: ProcessSpec; readonly mark: string },
  deadline: Deadline,
): Promise<ContainerPlan | undefined> {
  const { runtime, owner, mark, args } = plan;
  const run = containerRun(process.command, args);
  if (run === undefined) return undefined;
  const space = await runtime.waits.for(processSpace(), { label: 'upstream-start', owner, deadline });
  const scope = space === undefined ? undefined : scopeFrom(space, hubMark, owner);
  const labels = [`--label=${MARK_LABEL}=${mark}`, ...(scope === undefined ? [] : [`--label=${SCOPE_LABEL}=${scope}`])];
  return { run, mark, scope, args: args.toSpliced(run.at + 1, 0, ...labels) };
}

function scopeFrom(space: string, hubMark: string, owner: string): string {
  const text = JSON.stringify([space, dataDirectoryOf(hubMark), owner]);
  return createHash('sha256').update(text).digest('hex').slice(0, SCOPE_DIGITS);
}

/** Returns the first part of a mark. */
function dataDirectoryOf(mark: string): string {
  return mark.split('.', 1)[0] ?? '';
}

/** Ends the containers with a client's mark, after the client has ended. */
export async function endContainers(plan: ToolPlan, container: ContainerPlan, deadline: Deadline): Promise<void> {
  await endLabelled(plan, container, container.mark, deadline);
}

/**
 * Ends, before a start, containers of this server whose clients were killed together with their hub. Takes at most 5 s.
 * A label that does not begin with this data directory's mark is foreign text, by which no process can be found.
 */
export async function endForgotten(plan: ToolPlan, container: ContainerPlan, within: Deadline): Promise<void> {
  if (container.scope === undefined) return;
  using deadline = within.sooner(TOOL_MS);
  const ids = await idsOf(plan, container, `${SCOPE_LABEL}=${container.scope}`, deadline);
  if (typeof ids === 'string' || ids.length === 0) return;
  const format = `{{index .Config.Labels "${MARK_LABEL}"}}`;
  const marks = await tool(plan, container, ['inspect', '--format', format, ...ids], deadline);
  if (typeof marks === 'string') return;
  const own = `${dataDirectoryOf(container.mark)}.`;
  const ours = new Set(linesOf(marks).filter((mark) => mark.startsWith(own)));
  for (const mark of [...ours].slice(0, FORGOTTEN)) {
    const living = livingMarked(mark);
    const { runtime, owner } = plan;
    const found = await runtime.waits.for(living, { label: 'upstream-start', owner, deadline }).catch(() => undefined);
    if (found?.length === 0) await endLabelled(plan, container, mark, deadline);
  }
}

async function endLabelled(plan: ToolPlan, container: ContainerPlan, mark: string, deadline: Deadline): Promise<void> {
  const { runtime, owner: server } = plan;
  const ids = await idsOf(plan, container, `${MARK_LABEL}=${mark}`, deadline);
  if (typeof ids === 'string')
    return void runtime.bus.publish({ type: 'containers-ended', server, ids: [], fault: ids });
  if (ids.length === 0) return;
  const words = container.run.isRemoved ? ['rm', '-f', ...ids] : ['kill', ...ids];
  const end = await tool(plan, container, words, deadline);
  // The container may have ended by itself; only whether it still exists counts.
  const left = typeof end === 'string' ? await idsOf(plan, container, `${MARK_LABEL}=${mark}`, deadline) : [];
  const fault = typeof end === 'string' && (typeof left === 'string' || left.length > 0) ? end : undefined;
  runtime.bus.publish({ type: 'containers-ended', server, ids, fault });
}

/**
 * Returns ids of containers with this label: all if they are to be removed, else the running ones; or a text that says
 * what failed.
 */
async function idsOf(
  plan: ToolPlan,
  container: ContainerPlan,
  label: string,
  deadline: Deadline,
): Promise<readonly string[] | string> {
  const all = container.run.isRemoved ? ['-a'] : [];
  const end = await tool(plan, container, ['ps', ...all, '-q', '--filter', `label=${label}`], deadline);
  return typeof end === 'string' ? end : linesOf(end).filter((line) => /^[0-9a-f]+$/.test(line));
}

function linesOf(end: ProgramEnd): string[] {
  return end.stdout
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '');
}

/**
 * Runs the container tool as the client was run; returns a text when it fails. Its processes have another mark, so that
 * no sweep takes them for the client.
 */
async function tool(
  plan: ToolPlan,
  { run, mark }: ContainerPlan,
  words: readonly string[],
  deadline: Deadline,
): Promise<ProgramEnd | string> {
  const { runtime, owner, file, cwd, isolation } = plan;
  const env = { ...plan.env, [DESCENDANT_MARK]: `${mark}-containers` };
  using own = deadline.sooner(TOOL_MS);
  try {
    const args = [...run.before, ...words];
    const program = { runtime, owner, label: 'upstream-start', file, args, cwd, env, isolation } as const;
    const end = await runProgram(program, () => {}, own);
    return end.code === 0 ? end : (end.tail.at(-1) ?? end.signal ?? `exit code ${end.code}`);
  } catch (fault) {
    return fault instanceof Error ? fault.message : String(fault);
  }
}
