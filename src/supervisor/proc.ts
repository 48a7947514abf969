/**
 * What /proc tells about a process: state, CPU, what it sleeps in, whom it descends from. Elsewhere than on Linux: nothing.
 * Promises: never throws; a process that is gone reads as undefined; the sweep kills by a mark in the environment, so that double forks and
 * `setsid` hide nobody.
 */
import { readFileSync } from 'node:fs';
import { readdir, readFile, readlink } from 'node:fs/promises';

const TICK_MS = 10;
const ROUNDS = 20;
const ROUND_MS = 20;

export interface ProcessFacts {
  readonly state: string;
  readonly cpuMs: number;
  /** Ticks since boot at which it started: with the pid, its identity. */
  readonly startTicks: string;
  readonly rssBytes: number;
}

export function processFacts(pid: number): ProcessFacts | undefined {
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

export function sleepsIn(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/wchan`, 'utf8');
  } catch {
    return '';
  }
}

/** Time it was runnable without a CPU, ms since its start. */
export function waitedForCpuMs(pid: number): number {
  try {
    return Number(readFileSync(`/proc/${pid}/schedstat`, 'utf8').split(' ')[1]) / 1e6;
  } catch {
    return 0;
  }
}

export function isAlive(pid: number, startTicks?: string): boolean {
  const facts = processFacts(pid);
  if (facts)
    return facts.state !== 'Z' && (startTicks === undefined || startTicks === '' || facts.startTicks === startTicks);
  if (process.platform === 'linux') return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

/** Kills every process whose environment holds `NAME=<prefix>…`; answers with their pids. Repeats until none is left, at most `ROUNDS` times. */
export async function sweepMarked(name: string, prefix: string): Promise<number[]> {
  const swept = new Set<number>(); // bounded by: processes of this machine
  for (let round = 0; round < ROUNDS; round += 1) {
    const found = await markedPids(name, prefix);
    if (found.length === 0) break;
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

async function markedPids(name: string, prefix: string): Promise<number[]> {
  const needle = Buffer.from(`${name}=${prefix}`);
  const found: number[] = []; // bounded by: processes of this machine
  for (const entry of await readdir('/proc').catch(() => [])) {
    const pid = Number(entry);
    if (!Number.isInteger(pid) || pid === process.pid || !isAlive(pid)) continue;
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

/** Who listens on a TCP port of this machine: pid and command, or undefined where it cannot be seen. */
export async function portHolder(port: number): Promise<string | undefined> {
  const hex = port.toString(16).toUpperCase().padStart(4, '0');
  const inodes = new Set<string>(); // bounded by: sockets of this machine
  for (const table of ['/proc/net/tcp', '/proc/net/tcp6']) {
    const text = await readFile(table, 'utf8').catch(() => '');
    for (const line of text.split('\n')) {
      const fields = line.trim().split(/\s+/);
      if (fields[1]?.endsWith(`:${hex}`) && fields[3] === '0A' && fields[9]) inodes.add(fields[9]);
    }
  }
  if (inodes.size === 0) return undefined;
  for (const entry of await readdir('/proc').catch(() => [])) {
    if (!/^\d+$/.test(entry)) continue;
    if (await holdsSocket(entry, inodes)) {
      const command = await readFile(`/proc/${entry}/cmdline`, 'utf8').catch(() => '');
      return `pid ${entry} (${command.replaceAll('\0', ' ').trim().slice(0, 120)})`;
    }
  }
  return undefined;
}

async function holdsSocket(pid: string, inodes: ReadonlySet<string>): Promise<boolean> {
  for (const fd of await readdir(`/proc/${pid}/fd`).catch(() => [])) {
    const target = await readlink(`/proc/${pid}/fd/${fd}`).catch(() => '');
    const inode = /^socket:\[(\d+)\]$/.exec(target)?.[1];
    if (inode && inodes.has(inode)) return true;
  }
  return false;
}
