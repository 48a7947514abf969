/**
 * Reads from /proc whether a process runs, and what it uses. Elsewhere than on Linux only `isAlive` has an answer;
 * nothing here throws or blocks.
 */
import { readFileSync } from 'node:fs';

const TICK_MS = 10;

export interface ProcessStat {
  readonly state: string;
  readonly cpuMs: number;
  /** Clock ticks since boot at which the process started. Together with the pid it identifies the process. */
  readonly startTicks: string;
  readonly rssBytes: number;
}

/** Returns state, CPU use and memory of a process; undefined if it does not exist. */
export function readProcessStat(pid: number): ProcessStat | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return {
      state: fields[0] ?? '?',
      cpuMs: (Number(fields[11]) + Number(fields[12])) * TICK_MS,
      startTicks: fields[19] ?? '',
      rssBytes: Number(fields[21]) * 4096,
    };
  } catch {
    return undefined;
  }
}

/** Tells whether a process runs; with `startTicks`, whether it is still the same process. */
export function isAlive(pid: number, startTicks?: string): boolean {
  const stat = readProcessStat(pid);
  if (stat)
    return stat.state !== 'Z' && (startTicks === undefined || startTicks === '' || stat.startTicks === startTicks);
  if (process.platform === 'linux') return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
