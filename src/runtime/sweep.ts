/**
 * Kills what a process has left behind: everything with a given mark in its environment, also after a double fork or
 * `setsid`. Used by the supervisor after each exit, by the control process after the supervisor's. Loads node:* only.
 * Guarantees: never kills this process; never rejects; ends after at most `ROUNDS` rounds; does nothing without /proc.
 * It has no deadline: reading the environment of another process can block in the kernel, so the caller sets one.
 */
import { readdir, readFile } from 'node:fs/promises';
import { DESCENDANT_MARK } from '../model/supervisor-messages.ts';

const ROUNDS = 20;
const ROUND_MS = 20;

/**
 * Kills every process whose mark begins with `prefix`; returns their pids. End the prefix with its dot: it is compared
 * as text. Repeats until two rounds find nothing, because a process shows no environment while it is being executed.
 */
export async function sweepMarked(prefix: string): Promise<number[]> {
  // An empty prefix would match every mark.
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
        // It has exited by itself.
      }
    }
    // Killed processes take a moment to disappear; meanwhile one of them may have started a child.
    await new Promise((resolve) => setTimeout(resolve, ROUND_MS));
  }
  return [...swept];
}

/** Returns pids of other processes whose mark begins with `prefix`. A zombie has no environment and is not found. */
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

/** Tells whether the needle is at the start of the environment or directly after a NUL. */
function startsOrHolds(environ: Buffer, needle: Buffer): boolean {
  let at = environ.indexOf(needle);
  while (at >= 0) {
    if (at === 0 || environ[at - 1] === 0) return true;
    at = environ.indexOf(needle, at + 1);
  }
  return false;
}
