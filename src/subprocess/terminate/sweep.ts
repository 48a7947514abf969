/**
 * Kills the descendants that escaped a group kill (`setsid`, double fork): they still carry the mark in their environment.
 * Promises: touches only processes whose mark is `prefix` or begins with `prefix.`; never this process; looks again until two passes in a row
 * find nothing (a dying parent may have forked meanwhile, and a process that is just being executed shows no environment); ends by the deadline; never rejects; does nothing where there is no /proc.
 * Does not: find processes that cleaned their environment; those die with their group.
 */

import { DESCENDANT_MARK } from '../../model/supervisor-messages.ts';
import type { Deadline } from '../../runtime/deadline.ts';
import { pidsWithVariable, processIds, readRows } from '../proc/processes.ts';

const PASSES = 10;
/** Between two passes, ms: longer than a program takes to be executed. */
const APART_MS = 30;

/** Returns the pids it killed. A hub calls it with its own mark at its exit; a child's end calls it with the child's mark. */
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

/** Living processes that carry the mark, this one left out. */
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
    return false; // gone already, or not ours to kill
  }
}
