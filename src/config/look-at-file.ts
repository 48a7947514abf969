/**
 * Reads the state of a file on disk, and watches its directory for changes. `control/config-watcher.ts` decides what a
 * change means.
 * Guarantees: links are followed; `hintsOf` holds one watcher, reports its end once and never throws. A hint only means
 * that a check is worthwhile.
 */
import { type BigIntStats, type FSWatcher, watch } from 'node:fs';
import { stat } from 'node:fs/promises';
import { basename } from 'node:path';

export interface FileLook {
  /** Equal values mean the same file in the same state, as far as that can be seen without reading it. */
  readonly sign: string;
  readonly isThere: boolean;
  /** Wall-clock time of the last change in ms; a file that has just changed may change again without a new sign. */
  readonly changedAtMs: number;
}

/** Returns the state of the file. Never rejects: a file that cannot be accessed counts as missing. */
export async function lookAtFile(file: string): Promise<FileLook> {
  const found = await stat(file, { bigint: true }).catch((fault: unknown) => codeOf(fault));
  if (typeof found === 'string') return { sign: `${file} ${found}`, isThere: false, changedAtMs: 0 };
  return { sign: `${file} ${signOf(found)}`, isThere: true, changedAtMs: Number(found.mtimeMs) };
}

/** Returns an identifier of the directory at this path, or undefined when there is none. */
export async function directorySign(dir: string): Promise<string | undefined> {
  const found = await stat(dir, { bigint: true }).catch(() => undefined);
  return found?.isDirectory() ? `${dir} ${found.dev}:${found.ino}` : undefined;
}

/**
 * Calls `hint` when an entry with the file's name changes in `dir`. Calls `ended` with the system's reason when no more
 * hints will come; not when it is disposed.
 */
export function hintsOf(dir: string, file: string, hint: () => void, ended: (reason: string) => void): Disposable {
  const name = basename(file);
  let watcher: FSWatcher | undefined;
  let isOver = false;
  const end = (reason: string): void => {
    if (isOver) return;
    isOver = true;
    watcher?.close();
    ended(reason);
  };
  try {
    watcher = watch(dir, { persistent: false }, (_event, entry) => {
      if (!isOver && (entry === null || entry === name)) hint();
    });
    watcher.on('error', (fault) => end(codeOf(fault)));
    watcher.on('close', () => end('closed'));
  } catch (fault) {
    end(codeOf(fault));
  }
  return {
    [Symbol.dispose]() {
      isOver = true;
      watcher?.close();
    },
  };
}

function signOf({ dev, ino, size, mtimeNs, ctimeNs }: BigIntStats): string {
  return [dev, ino, size, mtimeNs, ctimeNs].join(':');
}

function codeOf(fault: unknown): string {
  return fault instanceof Error && 'code' in fault ? String(fault.code) : 'unknown';
}
