/**
 * The world on disk, so that a hub starts and serves without control.
 * Promises: `write` never waits and happens at most once a second, the newest counting; a file is whole or not there, 0600; `read` takes the hub's own file, else the newest of another hub, and skips what is damaged or too large.
 * Does not: decide when the world from disk is good enough (`process/`).
 */
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { LIMITS } from '../config/limits.ts';
import { writeAtomically } from '../config/write-atomically.ts';
import type { Deadline } from '../kernel/deadline.ts';
import type { Kernel } from '../kernel/kernel.ts';
import { type Snapshot, wholeSnapshot } from '../kernel/snapshot.ts';

const WRITE_EVERY_MS = 1000;
const WRITE_MS = 10_000;
const FILE_NAME = /^hub-\d+\.snapshot\.json$/;

export interface SnapshotFile {
  /** The world as last kept, or undefined when none can be read by the deadline. Never rejects. */
  read(deadline: Deadline): Promise<Snapshot | undefined>;
  write(snapshot: Snapshot): void;
  /** Brings what is waiting to disk, by the deadline. Never rejects. */
  flush(deadline: Deadline): Promise<void>;
}

/** `dir` must exist. `maxBytes` = largest file that is read. */
export function createSnapshotFile(parts: {
  readonly kernel: Kernel;
  readonly dir: string;
  readonly slot: number;
  readonly maxBytes?: number;
}): SnapshotFile {
  const { kernel, dir, slot, maxBytes = LIMITS.snapshotBytes.default } = parts;
  const own = `hub-${slot}.snapshot.json`;
  let waiting: Snapshot | undefined;
  let writing: Promise<void> | undefined;
  let timer: Disposable | undefined;
  let lastMs = Number.NEGATIVE_INFINITY;

  function schedule(): void {
    if (timer || writing || !waiting) return;
    const restMs = Math.max(0, lastMs + WRITE_EVERY_MS - kernel.clock.nowMs());
    timer = kernel.timers.after(restMs, () => {
      timer = undefined;
      kernel.scope.run('snapshot file', begin);
    });
  }

  function rest(): void {
    timer?.[Symbol.dispose]();
    timer = undefined;
  }

  /** Starts writing what waits; a failure is a fact and the next write tries again. */
  function begin(): Promise<void> {
    if (writing) return writing;
    const snapshot = waiting;
    if (!snapshot) return Promise.resolve();
    waiting = undefined;
    lastMs = kernel.clock.nowMs();
    const deadline = kernel.deadline(WRITE_MS);
    const turn = writeAtomically(join(dir, own), JSON.stringify(snapshot), { waits: kernel.waits, deadline })
      .catch((fault: unknown) => kernel.bus.publish({ type: 'task-faulted', task: 'snapshot file', fault }))
      .finally(() => {
        deadline[Symbol.dispose]();
        writing = undefined;
        schedule();
      });
    writing = turn;
    return turn;
  }

  async function readNewest(): Promise<Snapshot | undefined> {
    const mine = await snapshotIn(join(dir, own), maxBytes);
    if (mine) return mine;
    for (const name of await othersNewestFirst(dir, own)) {
      const other = await snapshotIn(join(dir, name), maxBytes);
      if (other) return other;
    }
    return undefined;
  }

  return {
    async read(deadline) {
      try {
        return await kernel.waits.for(readNewest(), { label: 'snapshot-read', owner: own, deadline });
      } catch {
        return undefined;
      }
    },
    write(snapshot) {
      waiting = snapshot;
      schedule();
    },
    async flush(deadline) {
      rest();
      try {
        if (writing) await kernel.waits.for(writing, { label: 'snapshot-write', owner: own, deadline });
        rest();
        await kernel.waits.for(begin(), { label: 'snapshot-write', owner: own, deadline });
      } catch {
        // The disk does not answer in time; the file before this one is still whole.
      }
    },
  };
}

async function snapshotIn(path: string, maxBytes: number): Promise<Snapshot | undefined> {
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

async function othersNewestFirst(dir: string, own: string): Promise<string[]> {
  const found: { name: string; atMs: number }[] = [];
  for (const name of await readdir(dir)) {
    if (name === own || !FILE_NAME.test(name)) continue;
    try {
      found.push({ name, atMs: (await stat(join(dir, name))).mtimeMs });
    } catch {
      // Gone since the directory was read.
    }
  }
  return found.sort((a, b) => b.atMs - a.atMs).map(({ name }) => name);
}
