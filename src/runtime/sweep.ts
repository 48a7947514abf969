/**
 * Ends what is left of a process that is gone: everything that carries a mark in its environment, so that double forks and `setsid` hide
 * nobody. The supervisor does it after each death, and control after the supervisor's own.
 * Promises: never this process; a prefix ends where a name ends (give it with its dot); looks again until nobody is found twice in a row (one
 * that is just being executed shows no environment), at most `ROUNDS` times; never rejects; does nothing where there is no /proc. Node's own modules only: the supervisor has no kernel.
 * Does not: wait with a deadline (reading another process's environment can block in the kernel); whoever calls it does.
 */
import { readdir, readFile } from 'node:fs/promises';
import { DESCENDANT_MARK } from '../model/supervisor-messages.ts';

const ROUNDS = 20;
const ROUND_MS = 20;

/** Kills every process whose mark begins with `prefix`; answers with their pids. */
export async function sweepMarked(prefix: string): Promise<number[]> {
  // It would fit everybody's.
  if (prefix === '') return [];
  const swept = new Set<number>(); // bounded by: processes of this machine
  let empty = 0;
  for (let round = 0; round < ROUNDS && empty < 2; round += 1) {
    const found = await livingMarked(prefix);
    empty = found.length === 0 ? empty + 1 : 0;
    for (const pid of found) {
      try {
        process.kill(pid, 'SIGKILL');
        swept.add(pid);
      } catch {
        // It ended by itself.
      }
    }
    // The killed need a moment to be gone; meanwhile one of them may have had a child.
    await new Promise((resolve) => setTimeout(resolve, ROUND_MS));
  }
  return [...swept];
}

/** Pids of the others whose mark begins with `prefix`. A dead one that was not collected yet has no environment any more. */
export async function livingMarked(prefix: string): Promise<number[]> {
  const needle = Buffer.from(`${DESCENDANT_MARK}=${prefix}`);
  const found: number[] = []; // bounded by: processes of this machine
  for (const entry of await readdir('/proc').catch(() => [])) {
    const pid = Number(entry);
    if (!Number.isInteger(pid) || pid === process.pid) continue;
    const environ = await readFile(`/proc/${entry}/environ`).catch(() => undefined);
    if (environ && startsOrHolds(environ, needle)) found.push(pid);
  }
  return found;
}

/** At the start of the environment or right behind a NUL. */
function startsOrHolds(environ: Buffer, needle: Buffer): boolean {
  let at = environ.indexOf(needle);
  while (at >= 0) {
    if (at === 0 || environ[at - 1] === 0) return true;
    at = environ.indexOf(needle, at + 1);
  }
  return false;
}
