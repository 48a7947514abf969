/**
 * Sessions that have ended, here or on another worker, and the streams that end with them.
 * Guarantees: the tombstones of all and of one owner are limited, and the owner with most loses one; each end is
 * reported once.
 */
import type { Limits } from '../config/limits.ts';
import type { Runtime } from '../runtime/runtime.ts';
import { FairMap } from '../runtime/shares.ts';
import type { Sweeper } from './_sweep.ts';

/** An ended session: random part of its id, and when it ended (wall clock ms). */
export interface Tombstone {
  readonly id: string;
  readonly atMs: number;
  /** Whose share it is charged to; absent = written by an older version. */
  readonly owner?: string | undefined;
}

/** Returns the part of a session's id that stands in logs. */
export function shortId(random: string): string {
  return random.slice(0, 8);
}

export class EndedSessions {
  readonly #runtime: Runtime;
  readonly #closeStreams: (random: string) => void;
  /** By the random part of the id: wall clock ms. */
  readonly #tombstones: FairMap<string, number>;
  #tombstoneListeners: readonly ((tombstone: Tombstone) => void)[] = []; // bounded by: the modules that listen
  #endListeners: readonly ((random: string) => void)[] = []; // bounded by: the modules that listen

  constructor(runtime: Runtime, limits: Limits, closeStreams: (random: string) => void) {
    this.#runtime = runtime;
    this.#closeStreams = closeStreams;
    this.#tombstones = new FairMap(
      'session.tombstones',
      { max: () => limits.tombstones, share: () => limits.tombstonesPerKey },
      'evict-greediest',
      runtime.ceilings,
    );
  }

  has(random: string): boolean {
    return this.#tombstones.has(random);
  }

  onTombstone(listener: (tombstone: Tombstone) => void): void {
    this.#tombstoneListeners = [...this.#tombstoneListeners, listener];
  }

  onEnd(listener: (random: string) => void): void {
    this.#endListeners = [...this.#endListeners, listener];
  }

  /** Ends a session on all workers. `reason` is logged. */
  end(random: string, owner: string, reason: string): void {
    if (this.has(random)) return;
    const tombstone: Tombstone = { id: random, atMs: this.#runtime.clock.wallMs(), owner };
    this.#tombstones.set(owner, random, tombstone.atMs);
    this.#closeStreams(random);
    this.#runtime.bus.publish({ type: 'session-ended', session: shortId(random), reason });
    for (const listener of this.#tombstoneListeners) listener(tombstone);
    this.#notifyEnd(random);
  }

  /** Ends a session that no other worker knows, without a tombstone. */
  endHere(random: string): void {
    this.#closeStreams(random);
    this.#notifyEnd(random);
  }

  /** Applies a tombstone of another worker or of the store. */
  apply({ id, atMs, owner = '' }: Tombstone): void {
    if (this.has(id)) return;
    this.#tombstones.set(owner, id, atMs);
    this.endHere(id);
  }

  /** Removes tombstones of sessions that are too old anyway, in turns of the event loop. `beforeMs`: wall clock. */
  sweep(sweeper: Sweeper, beforeMs: number): void {
    sweeper.sweep(this.#tombstones, (atMs) => atMs < beforeMs);
  }

  #notifyEnd(random: string): void {
    for (const listener of this.#endListeners) listener(random);
  }
}
