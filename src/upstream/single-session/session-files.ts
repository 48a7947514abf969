/**
 * The names of the files in which `session-memory.ts` records sessions, and the list of them.
 */
import { lstat, opendir } from 'node:fs/promises';
import { join } from 'node:path';

/** Pids are reused, in a container at each start. */
export interface ProcessIdentity {
  readonly pid: number;
  /** Clock ticks since boot at which it started; '' if unknown. */
  readonly startTicks: string;
}

/** The content of a file's name. */
export interface Named {
  readonly file: string;
  readonly target: string;
  readonly slot: number;
  readonly opener: ProcessIdentity;
  /** Digest of the session's id. */
  readonly digest: string;
}

/** Files whose age is read at once. */
const AGES = 64;
const NAME = /^([0-9a-f]{32})\.(\d+)\.(\d+)-(\d*)\.([0-9a-f]{16})\.json$/;

/** Returns the files, oldest first. */
export async function byAge(dir: string, files: readonly string[]): Promise<readonly string[]> {
  const ages: { readonly file: string; readonly atMs: number }[] = []; // bounded by: the given files
  const read = async (file: string) => ({
    file,
    atMs: (await lstat(join(dir, file)).catch(() => undefined))?.mtimeMs ?? 0,
  });
  for (let at = 0; at < files.length; at += AGES)
    ages.push(...(await Promise.all(files.slice(at, at + AGES).map(read))));
  return ages.sort((a, b) => a.atMs - b.atMs).map(({ file }) => file);
}

/** Returns the session files among the first `most` entries of a directory; empty when it cannot be read. */
export async function allNamed(dir: string, most: number): Promise<readonly Named[]> {
  const found: Named[] = []; // bounded by: most
  try {
    let seen = 0;
    for await (const { name } of await opendir(dir)) {
      const one = namedFrom(name);
      if (one) found.push(one);
      seen += 1;
      if (seen >= most) break;
    }
  } catch {
    // Nothing was recorded yet.
  }
  return found;
}

function namedFrom(file: string): Named | undefined {
  const [, target, slot, pid, startTicks, digest] = NAME.exec(file) ?? [];
  if (target === undefined || startTicks === undefined || digest === undefined) return undefined;
  return { file, target, slot: Number(slot), opener: { pid: Number(pid), startTicks }, digest };
}
