/**
 * Stores the snapshot on disk, so that a worker can start and serve without control.
 * Guarantees: `write` never waits and writes at most once a second, the newest snapshot; files are complete and 0600;
 * `read` returns the newest snapshot of all workers with the newest keys of all files; damaged or oversized files are
 * skipped, and keys that may be outdated are not used.
 */
import { join } from 'node:path';
import { LIMITS } from '../config/limits.ts';
import { writeAtomically } from '../config/write-atomically.ts';
import type { Snapshot } from '../model/snapshot.ts';
import type { Deadline } from '../runtime/deadline.ts';
import { jsonPieces } from '../runtime/json-pieces.ts';
import type { Runtime } from '../runtime/runtime.ts';
import { candidates, readNewestKeys, readSnapshot } from './_stored-snapshots.ts';
import { KEYS_FILE } from './keys-file.ts';

const WRITE_INTERVAL_MS = 1000;
const WRITE_TIMEOUT_MS = 10_000;

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
