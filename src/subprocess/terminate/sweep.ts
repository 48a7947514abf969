/**
 * Kills descendants that escaped a group kill (`setsid`, double fork), by the mark in their environment.
 * Guarantees: kills only processes whose mark is `prefix` or begins with `prefix.`, never this one; repeats until two
 * passes find nothing, because a process shows no environment while it is executed; ends by the deadline; never
 * rejects; does nothing without /proc.
 */

import { DESCENDANT_MARK } from '../../model/supervisor-messages.ts';
import type { Deadline } from '../../runtime/deadline.ts';
import { pidsWithVariable, processIds, readRows } from '../proc/processes.ts';

const PASSES = 10;
/** Time between two passes, ms: longer than the execution of a program takes. */
const APART_MS = 30;

/**
 * Returns the pids that it killed. A worker calls it with its own mark at its exit; the end of a child with the
 * child's.
 */
export function sweepMarked(prefix: string, deadline: Deadline): Promise<number[]> {
  const killed = new Set<number>(); // bounded by: marked processes of this machine
  return new Promise((resolve) => {
    const forget = deadline.onEnd(() => resolve([...killed]));
    void sweep(prefix, deadline, killed).then(() => {
      forget();
      resolve([...killed]);
    });
  });
}

async function sweep(prefix: string, deadline: Deadline, killed: Set<number>): Promise<void> {
  let empty = 0;
  for (let pass = 0; pass < PASSES && deadline.ended === undefined; pass += 1) {
    const living = await livingMarked(prefix);
    if (deadline.ended !== undefined) return;
    for (const pid of living) if (kill(pid)) killed.add(pid);
    empty = living.length === 0 ? empty + 1 : 0;
    if (empty === 2) return;
    await rest(deadline);
  }
}

function rest(deadline: Deadline): Promise<void> {
  const step = deadline.sooner(APART_MS);
  return new Promise((resolve) => {
    step.onEnd(() => resolve());
  });
}

/** Returns the running processes with the mark, except this one. */
export async function livingMarked(prefix: string): Promise<number[]> {
  const fits = (value: string) => value === prefix || value.startsWith(`${prefix}.`);
  const marked = await pidsWithVariable(await processIds(), DESCENDANT_MARK, fits);
  const rows = await readRows(marked.filter((pid) => pid !== process.pid));
  return rows.filter((row) => !row.dead).map((row) => row.pid);
}

function kill(pid: number): boolean {
  try {
    process.kill(pid, 'SIGKILL');
    return true;
  } catch {
    return false; // it has exited, or may not be killed
  }
}
