/**
 * Publishes whole snapshots and keys to workers, with a revision that only rises.
 * Guarantees: keys are published at once and separately; `publishSoon` is coalesced (at most four snapshots a second);
 * publishing never waits, not even for the store; when a worker has a higher revision (a restored store), the next
 * revision is above it.
 */

import { secretValuesOf } from '../model/secret-values.ts';
import type { Snapshot } from '../model/snapshot.ts';
import type { KeysFrame } from '../relay/keys-messages.ts';
import type { Deadline } from '../runtime/deadline.ts';
import type { Runtime } from '../runtime/runtime.ts';
import { raiseRevision, readRevision } from '../store/meta.ts';
import type { Store } from '../store/store.ts';
import type { ControlState } from './control-state.ts';

/** Minimum time between two snapshots with changed lists, ms. */
const PUBLISH_GAP_MS = 250;
const STORE_TIMEOUT_MS = 5000;

export interface Publisher {
  readonly current: Snapshot | undefined;
  /** Revision of the published keys; from the same counter as revisions of snapshots. */
  readonly keysRevision: number;
  /** Wall clock ms. */
  readonly publishedAtMs: number | undefined;
  /** Reads the revision counter. */
  start(deadline: Deadline): Promise<void>;
  publishNow(): void;
  /** Publishes only the keys, immediately. */
  publishKeys(): void;
  publishSoon(): void;
  /** Publishes a revision above this one when ours is lower. */
  raiseAbove(revision: number): void;
  stop(): void;
}

export function createPublisher(parts: {
  readonly runtime: Runtime;
  readonly store: Store;
  readonly state: ControlState;
  /** Sends to workers. Throws when the snapshot is too large. */
  readonly send: (snapshot: Snapshot) => void;
  readonly sendKeys: (frame: KeysFrame) => void;
}): Publisher {
  const { runtime, store, state, send, sendKeys } = parts;
  let revision = 0;
  let keysRevision = 0;
  let current: Snapshot | undefined;
  let publishedAtMs: number | undefined;
  let lastMs = Number.NEGATIVE_INFINITY;
  let timer: { readonly atMs: number; readonly stop: Disposable } | undefined;

  function publishNow(): void {
    timer?.stop[Symbol.dispose]();
    timer = undefined;
    lastMs = runtime.clock.nowMs();
    revision += 1;
    try {
      const snapshot = state.snapshot(revision, keysRevision);
      runtime.secrets.use(secretValuesOf(snapshot.servers));
      send(snapshot);
      current = snapshot;
      publishedAtMs = runtime.clock.wallMs();
      const { servers, keys } = snapshot;
      runtime.bus.publish({ type: 'snapshot-published', revision, servers: servers.length, keys: keys.length });
    } catch (fault) {
      runtime.bus.publish({ type: 'task-faulted', task: 'publish', fault });
    }
    persistRevision(revision);
  }

  function publishKeys(): void {
    revision += 1;
    keysRevision = revision;
    try {
      const keys = state.validKeys;
      sendKeys({ keysRevision, keys });
      runtime.bus.publish({ type: 'keys-published', keysRevision, keys: keys.length });
    } catch (fault) {
      runtime.bus.publish({ type: 'task-faulted', task: 'publish keys', fault });
    }
    persistRevision(revision);
  }

  function persistRevision(kept: number): void {
    runtime.scope.run('store revision', async () => {
      using deadline = runtime.deadline(STORE_TIMEOUT_MS);
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
    publishNow,
    publishKeys,
    publishSoon() {
      const atMs = Math.max(runtime.clock.nowMs(), lastMs + PUBLISH_GAP_MS);
      if (timer && timer.atMs <= atMs) return;
      timer?.stop[Symbol.dispose]();
      timer = { atMs, stop: runtime.timers.after(atMs - runtime.clock.nowMs(), publishNow) };
    },
    raiseAbove(seenRevision) {
      if (seenRevision <= revision) return;
      revision = seenRevision;
      publishKeys();
      publishNow();
    },
    stop() {
      timer?.stop[Symbol.dispose]();
      timer = undefined;
    },
  };
}
