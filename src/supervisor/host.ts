/**
 * What the guard stands on: the lock of the data directory, the private run directory, the evidence it writes, the system's signals.
 * Promises: one guard per data directory; a lock whose holder is gone is taken over, one whose holder lives is respected and named; the run
 * directory is ours and closed to others.
 */
import {
  chmodSync,
  closeSync,
  constants,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { isatty } from 'node:tty';
import { unsafeSocketDir } from '../config/file-access.ts';
import { stopRequests } from '../kernel/stop-requests.ts';
import { isAlive, processFacts } from './process-probe.ts';
import { surviveBrokenPipes } from './supervisor-log.ts';

const STDOUT = 1;
const LOCK = 'lock';
const EVIDENCE = 'evidence';
const KEPT = 20;
/** Name of the newest evidence that a start has told of. */
const TOLD = 'told';
const MOST_TOLD = 5;
/** Faults of the guard's own within a minute after which it gives up. */
const OWN_FAULTS = 5;

/** sysexits.h EX_CONFIG: starting again does not help. */
export const EXIT_HOPELESS = 78;

/** Starting is pointless; `lines` say why. */
export class Hopeless extends Error {
  readonly lines: readonly string[];

  constructor(lines: readonly string[]) {
    super(lines.join('\n'));
    this.lines = lines;
  }
}

interface Holder {
  readonly pid: number;
  readonly startTicks: string;
}

export interface Lock {
  /** A guard before this one did not end in order: what it had may still live. */
  readonly wasStale: boolean;
  release(): void;
}

/** Takes the lock or throws `Hopeless` naming the holder. Runs once at boot, before anything else exists. */
export function lockDataDir(dataDir: string): Lock {
  const path = join(dataDir, LOCK);
  try {
    mkdirSync(dataDir, { recursive: true, mode: 0o700 });
  } catch (fault) {
    throw new Hopeless([`The data directory ${dataDir} cannot be made: ${(fault as Error).message}`]);
  }
  const aside = `${path}.${process.pid}`;
  const own = JSON.stringify({ pid: process.pid, startTicks: processFacts(process.pid)?.startTicks ?? '' });
  try {
    writeLock(aside, own);
  } catch (fault) {
    throw new Hopeless([`The data directory ${dataDir} cannot be written: ${(fault as Error).message}`]);
  }
  try {
    for (let tries = 0; tries < 5; tries += 1) {
      if (tryTake(aside, path, own)) return { wasStale: tries > 0, release: () => release(path, own) };
      refuseLiving(path, dataDir);
      moveStaleAway(path, dataDir);
    }
    throw new Hopeless([`The lock ${path} cannot be taken.`]);
  } finally {
    rmSync(aside, { force: true });
  }
}

/** Writes the holder into a file, or on a full disk into the target of a symbolic link, which takes no block. */
function writeLock(path: string, own: string): void {
  try {
    writeFileSync(path, own, { mode: 0o600 });
  } catch (fault) {
    if (!['ENOSPC', 'EDQUOT'].includes((fault as NodeJS.ErrnoException).code ?? '')) throw fault;
    rmSync(path, { force: true });
    symlinkSync(own, path);
  }
}

/** What stands in a lock of either kind; throws when there is none. */
export function readLock(path: string): string {
  return lstatSync(path).isSymbolicLink() ? readlinkSync(path) : readFileSync(path, 'utf8');
}

/** The lock appears whole or not at all. */
function tryTake(aside: string, path: string, own: string): boolean {
  try {
    linkSync(aside, path);
    return true;
  } catch (fault) {
    if (!['EPERM', 'ENOTSUP', 'ENOSYS', 'EOPNOTSUPP'].includes((fault as NodeJS.ErrnoException).code ?? ''))
      return false;
  }
  // A file system without hard links.
  try {
    writeFileSync(path, own, { mode: 0o600, flag: 'wx' });
    return true;
  } catch {
    return false;
  }
}

function refuseLiving(path: string, dataDir: string): void {
  const holder = holderOf(path);
  if (!holder || holder.pid === process.pid || !isAlive(holder.pid, holder.startTicks)) return;
  throw new Hopeless([
    `Another hub (pid ${holder.pid}) runs on the data directory ${dataDir}. Stop it, or give this one another with --data-dir.`,
  ]);
}

/**
 * Two that find the same stale lock must not both remove it: the slower one would remove the lock that the faster has just taken. So it is
 * moved away, looked at again, and put back if it turns out to be a living one's.
 */
function moveStaleAway(path: string, dataDir: string): void {
  const moved = `${path}.stale.${process.pid}`;
  try {
    renameSync(path, moved);
  } catch {
    // Another was faster.
    return;
  }
  try {
    refuseLiving(moved, dataDir);
  } catch (fault) {
    try {
      linkSync(moved, path);
    } catch {
      // A third one holds it now.
    }
    throw fault;
  } finally {
    rmSync(moved, { force: true });
  }
}

function holderOf(path: string): Holder | undefined {
  try {
    const { pid, startTicks } = JSON.parse(readLock(path)) as Partial<Holder>;
    return typeof pid === 'number' ? { pid, startTicks: startTicks ?? '' } : undefined;
  } catch {
    return undefined;
  }
}

function release(path: string, own: string): void {
  try {
    if (readLock(path) === own) rmSync(path, { force: true });
  } catch {
    // Gone already.
  }
}

/**
 * Prepares a new life of one process: the run directory is there (a cleaner of temporary files may have taken it) and its old sockets are not.
 * Touches nothing in a directory that another user has put there; the process itself refuses to start in it.
 */
export function clearSockets(runDir: string, names: readonly string[]): void {
  try {
    mkdirSync(runDir, { recursive: true, mode: 0o700 });
    if (unsafeSocketDir(runDir) !== undefined) return;
    for (const name of names) rmSync(join(runDir, name), { force: true });
  } catch {
    // The process itself will say what is wrong.
  }
}

/** Makes the run directory 0700 and removes sockets of a previous run. The lock must be held. */
export function prepareRunDir(runDir: string): void {
  mkdirSync(runDir, { recursive: true, mode: 0o700 });
  const facts = lstatSync(runDir);
  if (!facts.isDirectory() || (process.getuid && facts.uid !== process.getuid())) {
    throw new Hopeless([`The run directory ${runDir} is not a directory of this user.`]);
  }
  if ((facts.mode & 0o077) !== 0) chmodSync(runDir, 0o700);
  for (const name of readdirSync(runDir)) {
    const path = join(runDir, name);
    const isSocket = name.endsWith('.sock') && lstatSync(path, { throwIfNoEntry: false })?.isSocket() === true;
    if (isSocket || name.startsWith('stall-')) rmSync(path, { force: true });
  }
}

/** What the stall witness of a process left behind, if it speaks of this pid. */
export async function guiltyStack(runDir: string, who: string, pid: number): Promise<string | undefined> {
  const text = await readFile(join(runDir, `stall-${who}.txt`), 'utf8').catch(() => '');
  return text.includes(`pid ${pid} `) ? text : undefined;
}

/** Writes one piece of evidence; keeps the newest twenty. Answers with its path, or undefined when the disk does not take it. */
export async function writeEvidence(dataDir: string, who: string, evidence: object): Promise<string | undefined> {
  const dir = join(dataDir, EVIDENCE);
  const path = join(dir, `${new Date().toISOString().replaceAll(':', '-')}-${who}.json`);
  try {
    await mkdir(dir, { recursive: true, mode: 0o700 });
    await writeFile(path, JSON.stringify(evidence, null, 2), { mode: 0o600 });
    const names = (await readdir(dir)).filter((name) => name.endsWith('.json')).sort();
    for (const name of names.slice(0, Math.max(0, names.length - KEPT))) await rm(join(dir, name), { force: true });
    return path;
  } catch {
    return undefined;
  }
}

/** How processes ended in an earlier run and was not told yet, newest last, a sentence each. */
export function untoldEvidence(dataDir: string): string[] {
  const dir = join(dataDir, EVIDENCE);
  const marker = join(dir, TOLD);
  try {
    const names = readdirSync(dir)
      .filter((name) => name.endsWith('.json'))
      .sort();
    const told = existsSync(marker) ? readFileSync(marker, 'utf8') : '';
    const untold = names.filter((name) => name > told).slice(-MOST_TOLD);
    const last = names.at(-1);
    if (last !== undefined) writeFileSync(marker, last, { mode: 0o600 });
    return untold.map((name) => sentenceOf(join(dir, name)));
  } catch {
    // No evidence, or none that can be read.
    return [];
  }
}

function sentenceOf(path: string): string {
  const { at, process: who, why, guiltyStack } = JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>;
  const stack = Array.isArray(guiltyStack) ? guiltyStack.map(String).filter((line) => /^ +at /.test(line)) : [];
  // What the runtime does there, somebody's code has asked for.
  const frames = [...stack.filter((line) => !line.includes('(node:')), ...stack].slice(0, 3);
  const guilty = frames.length === 0 ? '' : `; it was in ${frames.map(placeOf).join(' ← ')}`;
  return `${who} ended at ${at}: ${why}${guilty} (${path})`;
}

/** `    at name (file:///…/room/file.ts:1:2)` → `name (room/file.ts:1)`. */
function placeOf(frame: string): string {
  const [, name = '', place = ''] = /^ +at ([^(]*) \(([^()]*):\d+\)$/.exec(frame) ?? [];
  return `${name} (${place.split('/').slice(-2).join('/')})`;
}

export interface SystemEars {
  /** SIGTERM or SIGINT: it shall end. */
  asked(signal: string): void;
  /** The terminal was closed. */
  hungUp(): void;
  reload(): void;
  /** SIGUSR2: the hubs shall be replaced one by one. */
  roll(): void;
  /** The guard's own code failed; `isLast` = so often within a minute that it must give up, in order. */
  faulted(words: string, isLast: boolean): void;
}

/** What the system tells the guard from now on. */
export function listenToSystem(ears: SystemEars): void {
  let faults: number[] = []; // bounded by: OWN_FAULTS
  const faulted = (fault: unknown) => {
    faults = [...faults.filter((atMs) => performance.now() - atMs < 60_000), performance.now()].slice(-OWN_FAULTS);
    ears.faulted(fault instanceof Error ? (fault.stack ?? fault.message) : String(fault), faults.length === OWN_FAULTS);
  };
  process.on('uncaughtException', faulted);
  process.on('unhandledRejection', faulted);
  const asked = stopRequests<NodeJS.Signals>(ears.asked, () => performance.now());
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, asked);
  process.on('SIGHUP', () => (isTerminalGone() ? ears.hungUp() : ears.reload()));
  process.on('SIGUSR2', () => ears.roll());
  surviveBrokenPipes();
}

/** A hang-up is told by the same signal as "reload"; after one the terminal cannot be opened any more. */
function isTerminalGone(): boolean {
  if (!isatty(STDOUT)) return false;
  try {
    closeSync(openSync('/dev/tty', constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY));
    return false;
  } catch {
    return true;
  }
}
