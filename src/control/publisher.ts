/**
 * Brings the world to the hubs, whole, with a revision that only rises.
 * Promises: `soon` is coalesced (a change of keys is out within 50 ms, listings at most four times a second); publishing waits for nothing,
 * not for the store either; a hub that has a higher revision (a store put back from a copy) makes the next one higher still.
 */
import type { Deadline } from '../kernel/deadline.ts';
import type { Kernel } from '../kernel/kernel.ts';
import type { Snapshot } from '../kernel/snapshot.ts';
import { raiseRevision, readRevision } from '../store/meta.ts';
import type { Store } from '../store/store.ts';
import type { World } from './world.ts';

/** Least time between two publishes, by what has changed, ms. */
export const PUBLISH_GAP_MS = { keys: 50, listings: 250 } as const;
const KEEP_MS = 5000;

export interface Publisher {
  readonly current: Snapshot | undefined;
  /** Wall clock ms. */
  readonly publishedAtMs: number | undefined;
  /** Reads the counter. */
  start(deadline: Deadline): Promise<void>;
  now(): void;
  soon(what: keyof typeof PUBLISH_GAP_MS): void;
  /** A hub has this revision; a higher one is published if ours is lower. */
  seen(revision: number): void;
  stop(): void;
}

export function createPublisher(parts: {
  readonly kernel: Kernel;
  readonly store: Store;
  readonly world: World;
  /** To the hubs. Throws when the world is too large to send. */
  readonly send: (snapshot: Snapshot) => void;
}): Publisher {
  const { kernel, store, world, send } = parts;
  let revision = 0;
  let current: Snapshot | undefined;
  let publishedAtMs: number | undefined;
  let lastMs = Number.NEGATIVE_INFINITY;
  let timer: { readonly atMs: number; readonly stop: Disposable } | undefined;

  function now(): void {
    timer?.stop[Symbol.dispose]();
    timer = undefined;
    lastMs = kernel.clock.nowMs();
    revision += 1;
    try {
      const snapshot = world.snapshot(revision, revision);
      send(snapshot);
      current = snapshot;
      publishedAtMs = kernel.clock.wallMs();
      const { servers, keys } = snapshot;
      kernel.bus.publish({ type: 'snapshot-published', revision, servers: servers.length, keys: keys.length });
    } catch (fault) {
      kernel.bus.publish({ type: 'task-faulted', task: 'publish', fault });
    }
    keepRevision(revision);
  }

  function keepRevision(kept: number): void {
    kernel.scope.run('keep revision', async () => {
      using deadline = kernel.deadline(KEEP_MS);
      await raiseRevision(store, kept, deadline);
    });
  }

  return {
    get current() {
      return current;
    },
    get publishedAtMs() {
      return publishedAtMs;
    },
    async start(deadline) {
      revision = await readRevision(store, deadline);
    },
    now,
    soon(what) {
      const atMs = Math.max(kernel.clock.nowMs(), lastMs + PUBLISH_GAP_MS[what]);
      if (timer && timer.atMs <= atMs) return;
      timer?.stop[Symbol.dispose]();
      timer = { atMs, stop: kernel.timers.after(atMs - kernel.clock.nowMs(), now) };
    },
    seen(seenRevision) {
      if (seenRevision <= revision) return;
      revision = seenRevision;
      now();
    },
    stop() {
      timer?.stop[Symbol.dispose]();
      timer = undefined;
    },
  };
}
