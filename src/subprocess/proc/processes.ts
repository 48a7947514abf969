/**
 * Reads running processes from /proc: group, CPU time, and the mark in the environment. The caller sets the deadline.
 * Guarantees: reads in the background, a few files at a time, so that no turn of the event loop is long; a process that
 * exits meanwhile or cannot be read is left out; without /proc there are no rows.
 */
import { readdir, readFile, readlink } from 'node:fs/promises';

export interface ProcessRow {
  readonly pid: number;
  readonly group: number;
  /** Zombie: it has exited and was not reaped yet. */
  readonly dead: boolean;
  /** CPU time of the process and of its reaped children, ms. */
  readonly cpuMs: number;
}

/** Kernel clock ticks are 1/100 s towards user space on every Linux that Node runs on. */
const TICK_MS = 10;
const AT_A_TIME = 16;

/** Returns the pids of all processes; none without /proc. */
export async function processIds(): Promise<number[]> {
  try {
    const names = await readdir('/proc');
    return names.filter((name) => /^\d+$/.test(name)).map(Number);
  } catch {
    return [];
  }
}

/**
 * Returns a name for the set of processes visible here: the boot of the machine and the PID namespace; undefined when
 * the system does not tell.
 */
export async function processSpace(): Promise<string | undefined> {
  try {
    const [boot, space] = await Promise.all([
      readFile('/proc/sys/kernel/random/boot_id', 'utf8'),
      readlink('/proc/self/ns/pid'),
    ]);
    return `${boot.trim()} ${space}`;
  } catch {
    return undefined;
  }
}

export async function readRows(pids: readonly number[]): Promise<ProcessRow[]> {
  const rows = await eachOf(pids, async (pid) => rowFrom(pid, await readFile(`/proc/${pid}/stat`, 'utf8')));
  return rows.filter((row) => row !== undefined);
}

/** Returns the processes that the main threads of `pids` have started; none when the system does not tell. */
export async function childrenOf(pids: readonly number[]): Promise<number[]> {
  const lists = await eachOf(pids, (pid) => readFile(`/proc/${pid}/task/${pid}/children`, 'utf8'));
  return lists.flatMap((list = '') => list.trim().split(' ').filter(Boolean).map(Number));
}

/** Returns those of `pids` whose initial environment has `variable` with a value that `fits`. */
export async function pidsWithVariable(
  pids: readonly number[],
  variable: string,
  fits: (value: string) => boolean,
): Promise<number[]> {
  const name = Buffer.from(`${variable}=`);
  const found = await eachOf(pids, async (pid) => {
    const value = valueIn(await readFile(`/proc/${pid}/environ`), name);
    return value !== undefined && fits(value) ? pid : undefined;
  });
  return found.filter((pid) => pid !== undefined);
}

function valueIn(environ: Buffer, name: Buffer): string | undefined {
  for (let at = environ.indexOf(name); at >= 0; at = environ.indexOf(name, at + 1)) {
    if (at > 0 && environ[at - 1] !== 0) continue;
    const end = environ.indexOf(0, at);
    return environ.toString('utf8', at + name.length, end < 0 ? environ.length : end);
  }
  return undefined;
}

function rowFrom(pid: number, stat: string): ProcessRow {
  // The second field is the program's name in brackets, which may contain blanks and brackets.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  let ticks = 0;
  for (const at of [11, 12, 13, 14]) ticks += Number(fields[at] ?? 0);
  return { pid, group: Number(fields[2]), dead: fields[0] === 'Z', cpuMs: ticks * TICK_MS };
}

/** Reads for each pid, `AT_A_TIME` at once; a read that fails returns undefined. */
async function eachOf<T>(pids: readonly number[], read: (pid: number) => Promise<T>): Promise<(T | undefined)[]> {
  const results: (T | undefined)[] = [];
  for (let at = 0; at < pids.length; at += AT_A_TIME) {
    const some = pids.slice(at, at + AT_A_TIME);
    results.push(...(await Promise.all(some.map((pid) => read(pid).catch(() => undefined)))));
  }
  return results;
}
