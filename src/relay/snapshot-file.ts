/**
 * Stores the snapshot on disk, so that a worker can start and serve without control.
 * Guarantees: `write` never waits and writes at most once a second, the newest snapshot; files are complete and 0600;
 * `read` returns the newest snapshot of all workers with the newest keys of all files; damaged or oversized files are
 * skipped, and keys that may be outdated are not used.
 */
import { open, readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { LIMITS } from '../config/limits.ts';
import { writeAtomically } from '../config/write-atomically.ts';
import { type Snapshot, wholeSnapshot } from '../model/snapshot.ts';
import type { Deadline } from '../runtime/deadline.ts';
import { jsonPieces } from '../runtime/json-pieces.ts';
import type { Runtime } from '../runtime/runtime.ts';
import { KEYS_FILE } from './keys-file.ts';

const WRITE_INTERVAL_MS = 1000;
const WRITE_TIMEOUT_MS = 10_000;
const FILE_NAME = /^hub-\d+\.snapshot\.json$/;

export interface SnapshotFileParts {
  readonly runtime: Runtime;
  /** Must exist. */
  readonly dir: string;
  readonly slot: number;
  /** The largest file that is read. */
  readonly maxBytes?: number;
}

export class SnapshotFile {
  readonly #parts: SnapshotFileParts;
  /** Name of this worker's file. */
  readonly #own: string;
  #waiting: Snapshot | undefined;
  #writing: Promise<void> | undefined;
  #timer: Disposable | undefined;
  #lastMs = Number.NEGATIVE_INFINITY;

  constructor(parts: SnapshotFileParts) {
    const { slot } = parts;
    this.#parts = parts;
    this.#own = `hub-${slot}.snapshot.json`;
  }

  /** Returns the newest stored snapshot, or undefined when none can be read by the deadline. Never rejects. */
  async read(deadline: Deadline): Promise<Snapshot | undefined> {
    const { runtime } = this.#parts;
    try {
      return await runtime.waits.for(this.#readNewest(), { label: 'snapshot-read', owner: this.#own, deadline });
    } catch {
      return undefined;
    }
  }

  write(snapshot: Snapshot): void {
    this.#waiting = snapshot;
    this.#schedule();
  }

  /** Writes the waiting snapshot by the deadline. Never rejects. */
  async flush(deadline: Deadline): Promise<void> {
    const { runtime } = this.#parts;
    this.#cancelTimer();
    try {
      if (this.#writing !== undefined)
        await runtime.waits.for(this.#writing, { label: 'snapshot-write', owner: this.#own, deadline });
      this.#cancelTimer();
      await runtime.waits.for(this.#startWrite(), { label: 'snapshot-write', owner: this.#own, deadline });
    } catch {
      // The disk did not respond in time; the previous file is still complete.
    }
  }

  #schedule(): void {
    const { runtime } = this.#parts;
    if (this.#timer || this.#writing !== undefined || !this.#waiting) return;
    const restMs = Math.max(0, this.#lastMs + WRITE_INTERVAL_MS - runtime.clock.nowMs());
    this.#timer = runtime.timers.after(restMs, () => {
      this.#timer = undefined;
      runtime.scope.run('snapshot file', () => this.#startWrite());
    });
  }

  #cancelTimer(): void {
    this.#timer?.[Symbol.dispose]();
    this.#timer = undefined;
  }

  /** Writes the waiting snapshot. A failure is published as an event; the next write tries again. */
  #startWrite(): Promise<void> {
    const { runtime, dir } = this.#parts;
    if (this.#writing !== undefined) return this.#writing;
    const snapshot = this.#waiting;
    if (!snapshot) return Promise.resolve();
    this.#waiting = undefined;
    this.#lastMs = runtime.clock.nowMs();
    const deadline = runtime.deadline(WRITE_TIMEOUT_MS);
    const { format, revision, keysRevision, ...rest } = snapshot;
    // The revisions come first, so that reading the beginning is enough to find the newest file. Keys are in
    // `keys.json`.
    const text = jsonPieces({ format, revision, keysRevision, ...rest, keys: [] });
    const turn = writeAtomically(join(dir, this.#own), text, { waits: runtime.waits, deadline })
      .catch((fault: unknown) => runtime.bus.publish({ type: 'task-faulted', task: 'snapshot file', fault }))
      .finally(() => {
        deadline[Symbol.dispose]();
        this.#writing = undefined;
        this.#schedule();
      });
    this.#writing = turn;
    return turn;
  }

  /** Returns the newest snapshot of all workers, with the newest keys of all files. */
  async #readNewest(): Promise<Snapshot | undefined> {
    const { dir, maxBytes = LIMITS.snapshotBytes.default } = this.#parts;
    const files = await candidates(dir, this.#own, maxBytes);
    const newest = files
      .filter(({ name, revision }) => name !== KEYS_FILE && revision !== undefined)
      .sort((x, y) => (y.revision ?? 0) - (x.revision ?? 0));
    for (const { name } of newest) {
      const snapshot = await readSnapshot(join(dir, name), maxBytes);
      if (snapshot) return { ...snapshot, ...(await readNewestKeys(dir, files)) };
    }
    return undefined;
  }
}

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
async function candidates(dir: string, own: string, maxBytes: number): Promise<Candidate[]> {
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
async function readNewestKeys(
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

async function readSnapshot(path: string, maxBytes: number): Promise<Snapshot | undefined> {
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
