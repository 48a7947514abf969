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

export interface PublisherParts {
  readonly runtime: Runtime;
  readonly store: Store;
  readonly state: ControlState;
  /** Sends to workers. Throws when the snapshot is too large. */
  readonly send: (snapshot: Snapshot) => void;
  readonly sendKeys: (frame: KeysFrame) => void;
}

export class Publisher {
  readonly #parts: PublisherParts;
  #revision = 0;
  #keysRevision = 0;
  #current: Snapshot | undefined;
  #publishedAtMs: number | undefined;
  #lastMs = Number.NEGATIVE_INFINITY;
  #timer: { readonly atMs: number; readonly stop: Disposable } | undefined;

  constructor(parts: PublisherParts) {
    this.#parts = parts;
  }

  get current(): Snapshot | undefined {
    return this.#current;
  }

  /** Revision of the published keys; from the same counter as revisions of snapshots. */
  get keysRevision(): number {
    return this.#keysRevision;
  }

  /** Wall clock ms. */
  get publishedAtMs(): number | undefined {
    return this.#publishedAtMs;
  }

  /** Reads the revision counter. */
  async start(deadline: Deadline): Promise<void> {
    const { store } = this.#parts;
    this.#revision = await readRevision(store, deadline);
  }

  publishNow(): void {
    const { runtime, state, send } = this.#parts;
    this.#timer?.stop[Symbol.dispose]();
    this.#timer = undefined;
    this.#lastMs = runtime.clock.nowMs();
    this.#revision += 1;
    try {
      const snapshot = state.snapshot(this.#revision, this.#keysRevision);
      runtime.secrets.use(secretValuesOf(snapshot.servers));
      send(snapshot);
      this.#current = snapshot;
      this.#publishedAtMs = runtime.clock.wallMs();
      const { servers, keys } = snapshot;
      runtime.bus.publish({
        type: 'snapshot-published',
        revision: this.#revision,
        servers: servers.length,
        keys: keys.length,
      });
    } catch (fault) {
      runtime.bus.publish({ type: 'task-faulted', task: 'publish', fault });
    }
    this.#persistRevision(this.#revision);
  }

  /** Publishes only the keys, immediately. */
  publishKeys(): void {
    const { state, sendKeys, runtime } = this.#parts;
    this.#revision += 1;
    this.#keysRevision = this.#revision;
    try {
      const keys = state.validKeys;
      sendKeys({ keysRevision: this.#keysRevision, keys });
      runtime.bus.publish({ type: 'keys-published', keysRevision: this.#keysRevision, keys: keys.length });
    } catch (fault) {
      runtime.bus.publish({ type: 'task-faulted', task: 'publish keys', fault });
    }
    this.#persistRevision(this.#revision);
  }

  publishSoon(): void {
    const { runtime } = this.#parts;
    const atMs = Math.max(runtime.clock.nowMs(), this.#lastMs + PUBLISH_GAP_MS);
    if (this.#timer && this.#timer.atMs <= atMs) return;
    this.#timer?.stop[Symbol.dispose]();
    this.#timer = { atMs, stop: runtime.timers.after(atMs - runtime.clock.nowMs(), () => this.publishNow()) };
  }

  /** Publishes a revision above this one when ours is lower. */
  raiseAbove(seenRevision: number): void {
    if (seenRevision <= this.#revision) return;
    this.#revision = seenRevision;
    this.publishKeys();
    this.publishNow();
  }

  stop(): void {
    this.#timer?.stop[Symbol.dispose]();
    this.#timer = undefined;
  }

  #persistRevision(kept: number): void {
    const { runtime, store } = this.#parts;
    runtime.scope.run('store revision', async () => {
      using deadline = runtime.deadline(STORE_TIMEOUT_MS);
      await raiseRevision(store, kept, deadline);
    });
  }
}
