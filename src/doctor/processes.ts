/**
 * Reads /proc for the doctor: which process holds a data directory, parent processes, and listening ports.
 * Guarantees: never waits or throws; what cannot be read (another user's process, no /proc) is empty.
 */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { PROCESS_ENV } from '../model/supervisor-messages.ts';
import { readProcessStat } from '../runtime/process-stat.ts';
import { readLock } from '../supervisor/host.ts';

export function holderOf(dataDir: string): number | undefined {
  const { pid, startTicks } = parsed(lockText(join(dataDir, 'lock'))) as { pid?: number; startTicks?: string };
  const facts = pid === undefined ? undefined : readProcessStat(pid);
  return facts && facts.state !== 'Z' && (!startTicks || facts.startTicks === startTicks) ? pid : undefined;
}

function lockText(path: string): string {
  try {
    return readLock(path);
  } catch {
    return '';
  }
}

/** Returns the supervisor of a process, which may be the supervisor itself or one of its children. */
export function supervisorOf(pid: number): number | undefined {
  if (childrenOf(pid).some((child) => environOf(child)[PROCESS_ENV.role] !== undefined)) return pid;
  if (environOf(pid)[PROCESS_ENV.role] === undefined) return undefined;
  return parentOf(pid);
}

export function childrenOf(pid: number): number[] {
  return (namesIn('/proc') ?? [])
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((one) => parentOf(one) === pid);
}

function parentOf(pid: number): number {
  const stat = textOf(`/proc/${pid}/stat`);
  return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1] ?? -1);
}

export function environOf(pid: number): Record<string, string> {
  const pairs = textOf(`/proc/${pid}/environ`)
    .split('\0')
    .map((pair) => [pair.replace(/=.*$/s, ''), pair.replace(/^[^=]*=/s, '')]);
  return Object.fromEntries(pairs) as Record<string, string>;
}

/** Returns the process that listens on a TCP port, as far as this user can see it. */
export function holderOfPort(port: number): { pid: number; command: string } | undefined {
  const wanted = port.toString(16).toUpperCase().padStart(4, '0');
  const rows = ['/proc/net/tcp', '/proc/net/tcp6'].flatMap((table) => textOf(table).split('\n'));
  const inodes = new Set(
    rows.flatMap((row) => {
      const fields = row.trim().split(/\s+/);
      return fields[3] === '0A' && fields[1]?.endsWith(`:${wanted}`) ? [`socket:[${fields[9]}]`] : [];
    }),
  );
  if (inodes.size === 0) return undefined;
  for (const name of namesIn('/proc') ?? []) {
    if (!/^\d+$/.test(name)) continue;
    if (!(namesIn(`/proc/${name}/fd`) ?? []).some((fd) => inodes.has(linkOf(`/proc/${name}/fd/${fd}`)))) continue;
    return { pid: Number(name), command: textOf(`/proc/${name}/comm`).trim() };
  }
  return { pid: 0, command: 'a process that this user may not see' };
}

/** Matches 127.0.0.0/8 and ::1 as /proc/net shows them, with the first byte last in each word. */
const LOOPBACK = /^(?:[0-9A-F]{6}7F|0{24}01000000|0{16}FFFF0000[0-9A-F]{6}7F):/;

/**
 * Returns the TCP ports on which a process listens, the length of the kernel's queue of each, and whether other
 * machines can reach it.
 */
export function listenersOf(pid: number): { port: number; queue: number; isOpen: boolean }[] {
  const inodes = new Set(
    (namesIn(`/proc/${pid}/fd`) ?? []).map((fd) => /socket:\[(\d+)\]/.exec(linkOf(`/proc/${pid}/fd/${fd}`))?.[1]),
  );
  const ports = new Map<number, { queue: number; isOpen: boolean }>();
  for (const table of ['/proc/net/tcp', '/proc/net/tcp6']) {
    for (const line of textOf(table).split('\n')) {
      const fields = line.trim().split(/\s+/);
      if (fields[3] !== '0A' || !inodes.has(fields[9])) continue;
      const port = Number.parseInt(fields[1]?.split(':').at(-1) ?? '', 16);
      const known = ports.get(port);
      ports.set(port, {
        queue: (known?.queue ?? 0) + Number.parseInt(fields[4]?.split(':').at(-1) ?? '0', 16),
        isOpen: (known?.isOpen ?? false) || !LOOPBACK.test(fields[1] ?? ''),
      });
    }
  }
  return [...ports].map(([port, seen]) => ({ port, ...seen }));
}

function linkOf(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return '';
  }
}

export function namesIn(dir: string): string[] | undefined {
  try {
    return readdirSync(dir);
  } catch {
    return undefined;
  }
}

export function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

/** Parses JSON; returns an empty object for anything else. */
export function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return {};
  }
}
