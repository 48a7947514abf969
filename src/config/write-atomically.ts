/**
 * Replaces a file atomically: a reader, or the next start after `kill -9`, finds the old text or the new one. Writers
 * of the same file are not ordered; the last rename wins.
 * Guarantees: writes a temporary file beside it, flushes, renames and flushes the directory; mode 0600; a link stays a
 * link; a write whose deadline has passed does not take effect later; a failed write leaves nothing behind.
 */
import { randomBytes } from 'node:crypto';
import { open, readdir, realpath, rename, stat, unlink } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { HubError } from '../model/errors.ts';
import type { Deadline } from '../runtime/deadline.ts';
import type { WaitLabel } from '../runtime/wait-labels.ts';
import type { Waits } from '../runtime/waits.ts';

export interface AtomicWrite {
  readonly waits: Waits;
  readonly deadline: Deadline;
  /** Label in the table of waits; `snapshot-write` by default. */
  readonly label?: WaitLabel;
  readonly owner?: string;
}

/** Pieces are requested one at a time, each after the previous one was written. */
type FileContent = string | Uint8Array | Iterable<string>;

/** Age in ms after which a temporary file is removed: its writer was killed. */
const STALE_MS = 10 * 60_000;

/**
 * Writes the file, whose directory must exist. Rejects with `wait-expired` at the deadline and with `store-failed` when
 * the disk fails.
 */
export async function writeAtomically(file: string, content: FileContent, write: AtomicWrite): Promise<void> {
  const { waits, deadline, label = 'snapshot-write', owner = basename(file) } = write;
  const work = replaceFile(file, content, deadline).catch((fault: unknown) => {
    if (fault instanceof HubError) throw fault;
    const code = fault instanceof Error && 'code' in fault ? String(fault.code) : 'unknown';
    throw new HubError('store-failed', { message: `${basename(file)} could not be written (${code})`, cause: fault });
  });
  await waits.for(work, { label, owner, deadline });
}

async function replaceFile(named: string, content: FileContent, deadline: Deadline): Promise<void> {
  const file = await realpath(named).catch(() => named);
  const directory = dirname(file);
  const temporary = join(directory, `${prefixOf(file)}${process.pid}-${randomBytes(6).toString('hex')}.tmp`);
  try {
    refuseWhenLate(file, deadline);
    await writeFlushed(temporary, content);
    refuseWhenLate(file, deadline);
    await rename(temporary, file);
  } catch (fault) {
    await unlink(temporary).catch(() => {});
    throw fault;
  }
  await flushDirectory(directory);
  await removeStale(directory, prefixOf(file), deadline.clock.wallMs());
}

function refuseWhenLate(file: string, deadline: Deadline): void {
  if (deadline.ended === undefined) return;
  throw new HubError('wait-expired', { message: `${basename(file)}: too late, left as it was` });
}

function prefixOf(file: string): string {
  return `.${basename(file)}.`;
}

async function writeFlushed(file: string, content: FileContent): Promise<void> {
  await using handle = await open(file, 'wx', 0o600);
  await handle.writeFile(content);
  await handle.sync();
}

/** Makes the rename durable. Windows cannot open a directory, and some file systems cannot flush one. */
async function flushDirectory(directory: string): Promise<void> {
  try {
    await using handle = await open(directory, 'r');
    await handle.sync();
  } catch {
    // The file is in place; only its survival of a power failure is not guaranteed.
  }
}

async function removeStale(directory: string, prefix: string, nowMs: number): Promise<void> {
  const names = await readdir(directory).catch(() => []);
  for (const name of names) {
    if (!name.startsWith(prefix) || !name.endsWith('.tmp')) continue;
    const path = join(directory, name);
    const age = await stat(path).then(
      ({ mtimeMs }) => nowMs - mtimeMs,
      () => 0,
    );
    if (age > STALE_MS) await unlink(path).catch(() => {});
  }
}
