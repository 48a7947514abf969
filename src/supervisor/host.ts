/**
 * The supervisor's host environment: the lock of the data directory, the private run directory, and the system's
 * signals. One supervisor per data directory: a lock whose holder has exited is taken over; one whose holder runs is
 * respected and named in the error. The run directory belongs to this user and is closed to others.
 */
import {
  chmodSync,
  closeSync,
  constants,
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
import { join } from 'node:path';
import { isatty } from 'node:tty';
import { unsafeSocketDir } from '../config/file-access.ts';
import { isAlive, readProcessStat } from '../runtime/process-stat.ts';
import { stopRequests } from '../runtime/stop-requests.ts';
import { ignoreBrokenPipes } from './supervisor-log.ts';

const STDOUT = 1;
const LOCK = 'lock';
/** Faults of the supervisor within a minute after which it gives up. */
const OWN_FAULTS = 5;

/** EX_CONFIG of sysexits.h: starting again does not help. */
export const EXIT_CONFIG = 78;

/** The start cannot succeed; `lines` say why. */
export class FatalStartError extends Error {
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
  /** The previous supervisor did not shut down; its processes may still run. */
  readonly wasStale: boolean;
  release(): void;
}

/** Takes the lock, or throws a `FatalStartError` that names the holder. Called once, before anything else exists. */
export function lockDataDir(dataDir: string): Lock {
  const path = join(dataDir, LOCK);
  try {
    mkdirSync(dataDir, { recursive: true, mode: 0o700 });
  } catch (fault) {
    throw new FatalStartError([`The data directory ${dataDir} cannot be created: ${(fault as Error).message}`]);
  }
  const prepared = `${path}.${process.pid}`;
  const own = JSON.stringify({ pid: process.pid, startTicks: readProcessStat(process.pid)?.startTicks ?? '' });
  try {
    writeLock(prepared, own);
  } catch (fault) {
    throw new FatalStartError([`The data directory ${dataDir} cannot be written: ${(fault as Error).message}`]);
  }
  try {
    for (let tries = 0; tries < 5; tries += 1) {
      if (tryTake(prepared, path, own)) return { wasStale: tries > 0, release: () => release(path, own) };
      refuseLiving(path, dataDir);
      moveStaleAway(path, dataDir);
    }
    throw new FatalStartError([`The lock ${path} cannot be taken.`]);
  } finally {
    rmSync(prepared, { force: true });
  }
}

/** Writes the holder into a file or, on a full disk, into the target of a symbolic link, which needs no block. */
function writeLock(path: string, own: string): void {
  try {
    writeFileSync(path, own, { mode: 0o600 });
  } catch (fault) {
    if (!['ENOSPC', 'EDQUOT'].includes((fault as NodeJS.ErrnoException).code ?? '')) throw fault;
    rmSync(path, { force: true });
    symlinkSync(own, path);
  }
}

/** Returns the content of a lock of either kind; throws if there is none. */
export function readLock(path: string): string {
  return lstatSync(path).isSymbolicLink() ? readlinkSync(path) : readFileSync(path, 'utf8');
}

/** Creates the lock with its content in one step. */
function tryTake(prepared: string, path: string, own: string): boolean {
  try {
    linkSync(prepared, path);
    return true;
  } catch (fault) {
    if (!['EPERM', 'ENOTSUP', 'ENOSYS', 'EOPNOTSUPP'].includes((fault as NodeJS.ErrnoException).code ?? ''))
      return false;
  }
  // The file system has no hard links.
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
  throw new FatalStartError([
    `Another hub (pid ${holder.pid}) runs on the data directory ${dataDir}. Stop it, or give this one another with --data-dir.`,
  ]);
}

/**
 * Removes a stale lock. Of two processes that find the same one, the slower could remove the lock that the faster has
 * just taken; so the lock is moved away, read again, and put back if its holder runs.
 */
function moveStaleAway(path: string, dataDir: string): void {
  const moved = `${path}.stale.${process.pid}`;
  try {
    renameSync(path, moved);
  } catch {
    // Another process was faster.
    return;
  }
  try {
    refuseLiving(moved, dataDir);
  } catch (fault) {
    try {
      linkSync(moved, path);
    } catch {
      // A third process holds it now.
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
    // Already removed.
  }
}

/**
 * Prepares the start of one process: creates the run directory, which a cleaner of temporary files may have removed,
 * and deletes old sockets. Touches nothing in a directory of another user; the process itself refuses to start in it.
 */
export function clearSockets(runDir: string, names: readonly string[]): void {
  try {
    mkdirSync(runDir, { recursive: true, mode: 0o700 });
    if (unsafeSocketDir(runDir) !== undefined) return;
    for (const name of names) rmSync(join(runDir, name), { force: true });
  } catch {
    // The process itself reports what is wrong.
  }
}

/** Creates the run directory with mode 0700 and deletes the sockets of a previous run. The lock must be held. */
export function prepareRunDir(runDir: string): void {
  mkdirSync(runDir, { recursive: true, mode: 0o700 });
  const stat = lstatSync(runDir);
  if (!stat.isDirectory() || (process.getuid && stat.uid !== process.getuid())) {
    throw new FatalStartError([`The run directory ${runDir} is not a directory of this user.`]);
  }
  if ((stat.mode & 0o077) !== 0) chmodSync(runDir, 0o700);
  for (const name of readdirSync(runDir)) {
    const path = join(runDir, name);
    const isSocket = name.endsWith('.sock') && lstatSync(path, { throwIfNoEntry: false })?.isSocket() === true;
    if (isSocket || name.startsWith('stall-')) rmSync(path, { force: true });
  }
}

export interface SystemHandlers {
  /** SIGTERM or SIGINT. */
  stop(signal: string): void;
  /** The terminal was closed. */
  terminalClosed(): void;
  /** SIGHUP. */
  reload(): void;
  /** SIGUSR2: replace the workers one at a time. */
  replaceWorkers(): void;
  /** An uncaught fault of the supervisor; `isLast` = the fifth within a minute, so that it must shut down. */
  fault(text: string, isLast: boolean): void;
}

/** Installs the handlers of signals and uncaught faults. */
export function handleSystemSignals(handlers: SystemHandlers): void {
  let faults: number[] = []; // bounded by: OWN_FAULTS
  const onFault = (fault: unknown) => {
    faults = [...faults.filter((atMs) => performance.now() - atMs < 60_000), performance.now()].slice(-OWN_FAULTS);
    handlers.fault(
      fault instanceof Error ? (fault.stack ?? fault.message) : String(fault),
      faults.length === OWN_FAULTS,
    );
  };
  process.on('uncaughtException', onFault);
  process.on('unhandledRejection', onFault);
  const onStop = stopRequests<NodeJS.Signals>(handlers.stop, () => performance.now());
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, onStop);
  process.on('SIGHUP', () => (isTerminalClosed() ? handlers.terminalClosed() : handlers.reload()));
  process.on('SIGUSR2', () => handlers.replaceWorkers());
  ignoreBrokenPipes();
}

/** SIGHUP means a closed terminal as well as "reload"; a closed terminal cannot be opened any more. */
function isTerminalClosed(): boolean {
  if (!isatty(STDOUT)) return false;
  try {
    closeSync(openSync('/dev/tty', constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY));
    return false;
  } catch {
    return true;
  }
}
