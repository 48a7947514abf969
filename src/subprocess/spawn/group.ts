/**
 * Spawns a program as leader of its own process group, which ends with this process where the system supports that.
 * Guarantees: no shell; only the given environment; the program runs when the promise resolves, else HubError
 * `upstream-spawn`; a child that starts after the deadline is killed; one program in a turn of the event loop, because
 * the system copies page tables and blocks this process until the program is loaded.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { HubError } from '../../model/errors.ts';
import type { Deadline } from '../../runtime/deadline.ts';
import type { Runtime } from '../../runtime/runtime.ts';
import type { WaitLabel } from '../../runtime/wait-labels.ts';
import type { Isolation } from './isolation.ts';

export interface GroupPlan {
  readonly runtime: Runtime;
  /** The server's name, for people. */
  readonly owner: string;
  readonly label: WaitLabel;
  /** Absolute path of the program. */
  readonly file: string;
  readonly args: readonly string[];
  readonly cwd: string;
  readonly env: Readonly<Record<string, string>>;
  readonly stdin: 'pipe' | 'ignore';
  readonly isolation: Isolation;
}

export async function spawnGroup(plan: GroupPlan, deadline: Deadline): Promise<ChildProcess> {
  const { runtime, label, owner } = plan;
  await runtime.waits.for(runtime.turns.next(), { label, owner, deadline });
  const [file = plan.file, ...args] = [...plan.isolation.wrapper, plan.file, ...plan.args];
  let child: ChildProcess;
  try {
    child = spawn(file, args, {
      cwd: plan.cwd,
      env: plan.env,
      stdio: [plan.stdin, 'pipe', 'pipe'],
      detached: process.platform !== 'win32',
      shell: false,
      windowsHide: true,
    });
  } catch (fault) {
    throw spawnFault(plan, fault);
  }
  // Streams of a child that failed to start, or broke, emit errors; without a listener they would end this process.
  for (const stream of [child.stdin, child.stdout, child.stderr]) stream?.on('error', () => {});
  const spawned = new Promise<ChildProcess>((resolve, reject) => {
    child.once('spawn', () => resolve(child));
    child.on('error', (fault) => reject(spawnFault(plan, fault)));
  });
  return runtime.waits.for(spawned, { label, owner, deadline, late: () => killGroup(child.pid, 'SIGKILL') });
}

/** Signals the whole group; returns false when it has no process. */
export function killGroup(pid: number | undefined, signal: NodeJS.Signals): boolean {
  if (pid === undefined || pid <= 1) return false;
  try {
    process.kill(process.platform === 'win32' ? pid : -pid, signal);
    return true;
  } catch {
    return false;
  }
}

const DRAIN_MS = 100;

/** After the exit: waits until both pipes have ended, at most 100 ms, because a grandchild may hold them open. */
export function untilDrained(child: ChildProcess, runtime: Runtime): Promise<void> {
  const open = [child.stdout, child.stderr].filter((stream) => stream && !stream.closed);
  let left = open.length;
  if (left === 0) return Promise.resolve();
  return new Promise((resolve) => {
    const timer = runtime.timers.after(DRAIN_MS, resolve);
    for (const stream of open) {
      stream?.once('close', () => {
        left -= 1;
        if (left > 0) return;
        timer[Symbol.dispose]();
        resolve();
      });
    }
  });
}

function spawnFault(plan: GroupPlan, fault: unknown): HubError {
  const code = fault instanceof Error && 'code' in fault ? String(fault.code) : 'unknown';
  const reason = fault instanceof Error ? fault.message : String(fault);
  return new HubError('upstream-spawn', {
    message: `${plan.file} could not be started (${code}): ${reason}`,
    detail: { phase: 'start', reason: code, operator: { command: plan.file, cwd: plan.cwd } },
    cause: fault,
  });
}
