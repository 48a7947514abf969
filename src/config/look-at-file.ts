/**
 * Edge: how a file stands on disk, and a hint when something happens in its directory.
 * Promises: links are followed; `hintsOf` holds one watcher, reports its end once and never throws; what a hint says is not to be believed,
 * only that a look is worth while.
 * Does not: read the file (`config-file.ts`) or decide what a change means (`control/config-watcher.ts`).
 */
import { type BigIntStats, type FSWatcher, watch } from 'node:fs';
import { stat } from 'node:fs/promises';
import { basename } from 'node:path';

export interface FileLook {
  /** Equal = the same file in the same state, as far as that can be seen without reading it. */
  readonly sign: string;
  readonly isThere: boolean;
  /** Wall clock ms of the last change; a file that changed just now may change again without its sign changing. */
  readonly changedAtMs: number;
}

/** Never rejects for what it finds: a file that cannot be looked at is not there. */
export async function lookAtFile(file: string): Promise<FileLook> {
  const found = await stat(file, { bigint: true }).catch((fault: unknown) => codeOf(fault));
  if (typeof found === 'string') return { sign: `${file} ${found}`, isThere: false, changedAtMs: 0 };
  return { sign: `${file} ${signOf(found)}`, isThere: true, changedAtMs: Number(found.mtimeMs) };
}

/** Which directory that is, whatever stands at its path later; undefined = there is none. */
export async function directorySign(dir: string): Promise<string | undefined> {
  const found = await stat(dir, { bigint: true }).catch(() => undefined);
  return found?.isDirectory() ? `${dir} ${found.dev}:${found.ino}` : undefined;
}

/**
 * Calls `hint` when an entry called like the file changes in `dir`. `ended` = no hints come any more, with the system's reason.
 * Disposing ends it without a word.
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
