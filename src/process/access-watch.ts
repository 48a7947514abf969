/**
 * Ends what callers have open in this worker when their key is revoked, expires or loses rights.
 * Guarantees: a change of keys or groups takes effect in the turn of the event loop that brings it, an expiry within 25
 * ms of its time; sessions of users without a valid key lose their subscriptions.
 */
import { createAccessCheck } from '../auth/rights.ts';
import type { KeyRecord, Snapshot, SnapshotHolder } from '../model/snapshot.ts';
import type { Runtime } from '../runtime/runtime.ts';
import type { TimerWheelEntry } from '../runtime/timer-wheel.ts';

/** Longest timer in ms: the wall clock may be changed, so later expiries are checked again after this time. */
const LOOK_AGAIN_MS = 60_000;

/** A user with one of its key families. */
export interface KeyOwner {
  readonly userId: string;
  readonly family: string;
}

export interface AccessWatchParts {
  readonly runtime: Runtime;
  readonly snapshots: SnapshotHolder;
  /** Called when this owner has no valid key left. */
  readonly ownerLost: (owner: KeyOwner) => void;
}

export class AccessWatch {
  readonly #parts: AccessWatchParts;
  #owners: ReadonlyMap<string, KeyOwner> = new Map(); // bounded by: the keys of the snapshot
  #listeners: readonly (() => void)[] = []; // bounded by: the composition
  #applied = { keysRevision: 0, revision: 0 };
  #ending = 0;
  #expiry: TimerWheelEntry | undefined;

  constructor(parts: AccessWatchParts) {
    const { runtime, snapshots } = parts;
    this.#parts = parts;
    runtime.openWork.checkWith(
      createAccessCheck(
        () => snapshots.current,
        () => runtime.clock.wallMs(),
      ),
      () => snapshots.current,
    );
    snapshots.onSwap((now, before) => {
      if (now.keys !== before.keys || !isSameView(now, before)) this.#recheck(before);
      else this.#settle();
    });
  }

  /** Revisions that are applied completely: nothing that they do not allow is open any more. */
  get applied(): { readonly keysRevision: number; readonly revision: number } {
    return this.#applied;
  }

  /** Calls back when `applied` has increased. */
  onApplied(listener: () => void): void {
    this.#listeners = [...this.#listeners, listener];
  }

  #recheck(since: Snapshot): void {
    const { snapshots, runtime, ownerLost } = this.#parts;
    const { keysRevision, keys } = snapshots.current;
    this.#ending += 1;
    runtime.openWork.recheck(since, (ended) => {
      this.#ending -= 1;
      if (ended > 0) runtime.bus.publish({ type: 'access-ended', items: ended, keysRevision });
      this.#settle();
    });
    const valid = ownersOf(keys, runtime.clock.wallMs());
    for (const [id, owner] of this.#owners) if (!valid.has(id)) ownerLost(owner);
    this.#owners = valid;
    this.#armExpiry(keys);
  }

  /** A revision that arrived while items were still ending is applied with the last of them. */
  #settle(): void {
    const { snapshots } = this.#parts;
    const { keysRevision, revision } = snapshots.current;
    if (this.#ending > 0 || (this.#applied.keysRevision === keysRevision && this.#applied.revision === revision))
      return;
    this.#applied = { keysRevision, revision };
    for (const listener of this.#listeners) listener();
  }

  #armExpiry(keys: readonly KeyRecord[]): void {
    const { runtime, snapshots } = this.#parts;
    if (this.#expiry) runtime.wheel.remove(this.#expiry);
    this.#expiry = undefined;
    const nowMs = runtime.clock.wallMs();
    let nextMs: number | undefined;
    for (const { expiresAtMs } of keys)
      if (expiresAtMs !== undefined && expiresAtMs > nowMs) nextMs = Math.min(nextMs ?? expiresAtMs, expiresAtMs);
    if (nextMs === undefined) return;
    const inMs = Math.min(nextMs - nowMs, LOOK_AGAIN_MS);
    this.#expiry = runtime.wheel.add(runtime.clock.nowMs() + inMs, () => {
      this.#expiry = undefined;
      this.#recheck(snapshots.current);
    });
  }
}

/** Returns the owners by user and key family. */
function ownersOf(keys: readonly KeyRecord[], nowMs: number): Map<string, KeyOwner> {
  const owners = new Map<string, KeyOwner>(); // bounded by: the keys of the snapshot
  for (const { userId, family, expiresAtMs } of keys)
    if (expiresAtMs === undefined || expiresAtMs > nowMs) owners.set(`${userId}\n${family}`, { userId, family });
  return owners;
}

/** Returns true when keys see the same under both snapshots. */
function isSameView(now: Snapshot, before: Snapshot): boolean {
  const view = ({ groups, servers }: Snapshot) => JSON.stringify([groups, servers.map(({ slug }) => slug)]);
  return view(now) === view(before);
}
