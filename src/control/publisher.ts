/**
 * Brings the world to the hubs, whole, with a revision that only rises.
 * Promises: keys go out at once and apart from the rest; `soon` is coalesced (listings at most four times a second); publishing waits for nothing,
 * not for the store either; a hub that has a higher revision (a store put back from a copy) makes the next one higher still.
 */
import type { Deadline } from '../kernel/deadline.ts';
import type { Kernel } from '../kernel/kernel.ts';
import { secretValuesOf } from '../kernel/secret-values.ts';
import type { Snapshot } from '../kernel/snapshot.ts';
import type { KeysFrame } from '../relay/keys-messages.ts';
import { raiseRevision, readRevision } from '../store/meta.ts';
import type { Store } from '../store/store.ts';
import type { World } from './control-state.ts';

/** Least time between two snapshots that carry changed lists, ms. */
const PUBLISH_GAP_MS = 250;
const KEEP_MS = 5000;

export interface Publisher {
  readonly current: Snapshot | undefined;
  /** Revision of the keys now published; from the same counter as that of snapshots. */
  readonly keysRevision: number;
  /** Wall clock ms. */
  readonly publishedAtMs: number | undefined;
  /** Reads the counter. */
  start(deadline: Deadline): Promise<void>;
  now(): void;
  /** Publishes the keys alone, at once. */
  keysNow(): void;
  soon(): void;
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
  readonly sendKeys: (frame: KeysFrame) => void;
}): Publisher {
  const { kernel, store, world, send, sendKeys } = parts;
  let revision = 0;
  let keysRevision = 0;
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
      const snapshot = world.snapshot(revision, keysRevision);
      kernel.secrets.use(secretValuesOf(snapshot.servers));
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

  function keysNow(): void {
    revision += 1;
    keysRevision = revision;
    try {
      const keys = world.validKeys;
      sendKeys({ keysRevision, keys });
      kernel.bus.publish({ type: 'keys-published', keysRevision, keys: keys.length });
    } catch (fault) {
      kernel.bus.publish({ type: 'task-faulted', task: 'publish keys', fault });
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
    get keysRevision() {
      return keysRevision;
    },
    get publishedAtMs() {
      return publishedAtMs;
    },
    async start(deadline) {
      revision = await readRevision(store, deadline);
    },
    now,
    keysNow,
    soon() {
      const atMs = Math.max(kernel.clock.nowMs(), lastMs + PUBLISH_GAP_MS);
      if (timer && timer.atMs <= atMs) return;
      timer?.stop[Symbol.dispose]();
      timer = { atMs, stop: kernel.timers.after(atMs - kernel.clock.nowMs(), now) };
    },
    seen(seenRevision) {
      if (seenRevision <= revision) return;
      revision = seenRevision;
      keysNow();
      now();
    },
    stop() {
      timer?.stop[Symbol.dispose]();
      timer = undefined;
    },
  };
}
