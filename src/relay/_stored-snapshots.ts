/**
 * Reads the snapshots and keys that workers have left on disk (`snapshot-file.ts` writes them).
 * Guarantees: damaged or oversized files are skipped; keys that may be outdated are not used.
 */
import { open, readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { type Snapshot, wholeSnapshot } from '../model/snapshot.ts';
import { KEYS_FILE } from './keys-file.ts';

const FILE_NAME = /^hub-\d+\.snapshot\.json$/;

/** A file that contains keys, or may when an older version wrote it. */
interface Candidate {
  readonly name: string;
  /** Undefined = the beginning is unreadable. */
  readonly revision: number | undefined;
  /** A snapshot of this version; it contains no keys. */
  readonly isWithoutKeys: boolean;
}

const HEAD_BYTES = 256;
const HEAD = /^\{"format":1,"revision":(\d{1,15})(,"keysRevision":\d{1,15})?[,}]/;

/** Returns every file with its revision, this worker's own first. */
export async function candidates(dir: string, own: string, maxBytes: number): Promise<Candidate[]> {
  const found: Candidate[] = []; // bounded by: workers
  const names = (await readdir(dir)).filter((name) => FILE_NAME.test(name) || name === KEYS_FILE);
  for (const name of names.sort((x, y) => Number(y === own) - Number(x === own))) {
    const head = HEAD.exec(await readHead(join(dir, name), maxBytes));
    const isWithoutKeys = name !== KEYS_FILE && head?.[2] !== undefined;
    found.push({ name, revision: head ? Number(head[1]) : undefined, isWithoutKeys });
  }
  return found;
}

/** Returns an empty string when the file is unreadable or too large. */
async function readHead(path: string, maxBytes: number): Promise<string> {
  try {
    await using file = await open(path, 'r');
    if ((await file.stat()).size > maxBytes) return '';
    const { buffer, bytesRead } = await file.read(Buffer.alloc(HEAD_BYTES), 0, HEAD_BYTES, 0);
    return buffer.toString('utf8', 0, bytesRead);
  } catch {
    return '';
  }
}

/** No keys: callers with a key are refused until control sends the keys. */
const NO_KEYS = { keys: [], keysRevision: 0 } as const;

/**
 * Returns the keys of the newest file: `keys.json`, or a snapshot that an older version wrote later. When `keys.json`
 * is damaged, or is missing and any snapshot is damaged, some keys may have been revoked since: returns none.
 */
export async function readNewestKeys(
  dir: string,
  files: readonly Candidate[],
): Promise<Pick<Snapshot, 'keys' | 'keysRevision'>> {
  const holding = files.filter(({ isWithoutKeys }) => !isWithoutKeys);
  const hasFile = holding.some(({ name }) => name === KEYS_FILE);
  const unreadable = holding.filter(({ revision }) => revision === undefined);
  if (unreadable.some(({ name }) => name === KEYS_FILE || !hasFile)) return NO_KEYS;
  const [newest] = [...holding].sort((x, y) => (y.revision ?? 0) - (x.revision ?? 0));
  if (!newest) return NO_KEYS;
  try {
    const { keys } = JSON.parse(await readFile(join(dir, newest.name), 'utf8')) as Partial<Snapshot>;
    return Array.isArray(keys) ? { keys, keysRevision: newest.revision ?? 0 } : NO_KEYS;
  } catch {
    return NO_KEYS;
  }
}

export async function readSnapshot(path: string, maxBytes: number): Promise<Snapshot | undefined> {
  try {
    if ((await stat(path)).size > maxBytes) return undefined;
    const snapshot = JSON.parse(await readFile(path, 'utf8')) as Partial<Snapshot> | null;
    const isWhole =
      snapshot?.format === 1 &&
      typeof snapshot.revision === 'number' &&
      [snapshot.servers, snapshot.groups, snapshot.keys, snapshot.listings, snapshot.names].every(Array.isArray) &&
      typeof snapshot.limits === 'object' &&
      typeof snapshot.settings === 'object';
    return isWhole ? wholeSnapshot(snapshot as Snapshot) : undefined;
  } catch {
    return undefined;
  }
}
