/**
 * The preferences of all sessions, and what is derived from them: bytes of each owner, subscribers of each resource,
 * sessions of each level.
 * Guarantees: limited in number and bytes, for each owner and in total; what is derived always agrees with the entries,
 * also when one is evicted.
 */
import type { Limits } from '../config/limits.ts';
import type { Runtime } from '../runtime/runtime.ts';
import { FairCount, FairMap } from '../runtime/shares.ts';
import { LevelCounts } from './_level-counts.ts';
import type { Preferences } from './_preferences-text.ts';
import { SubscriptionIndex } from './_subscription-index.ts';
import { isEphemeral } from './ephemeral.ts';

export interface PreferencesEntry extends Preferences {
  readonly owner: string;
  readonly path: string;
  /** Wall clock ms of the change. */
  readonly atMs: number;
  /** Bytes charged to its owner. */
  readonly bytes: number;
}

/** Owner of preferences stored without one by an older version. */
export const UNKNOWN_OWNER = '';

export class PreferencesTable {
  readonly levels = new LevelCounts();
  readonly index = { all: new SubscriptionIndex(), ephemeral: new SubscriptionIndex() };
  readonly #entries: FairMap<string, PreferencesEntry>;
  readonly #bytes: FairCount;

  constructor({ runtime, limits }: { readonly runtime: Runtime; readonly limits: Limits }) {
    this.#entries = new FairMap(
      'session.notes',
      { max: () => limits.sessions, share: () => limits.sessionsPerKey },
      'evict-greediest',
      runtime.ceilings,
      (id: string, entry: PreferencesEntry) => this.#unindex(id, entry),
    );
    this.#bytes = new FairCount(
      'session.preferences-bytes',
      () => limits.preferencesBytes,
      () => limits.preferencesBytesPerKey,
      'refuse',
      runtime.ceilings,
    );
  }

  get(id: string): PreferencesEntry | undefined {
    return this.#entries.get(id);
  }

  /** Returns the sessions of an owner. */
  idsOf(owner: string): readonly string[] {
    return this.#entries.keysOf(owner);
  }

  /** Returns true when the owner may be charged `bytes` more. */
  hasRoom(owner: string, bytes: number): boolean {
    if (this.#bytes.take(owner, bytes) !== 'taken') return false;
    this.#bytes.give(owner, bytes);
    return true;
  }

  /** Replaces the entry of a session. Returns false, and keeps the old one, when its owner has used up its bytes. */
  put(id: string, entry: PreferencesEntry): boolean {
    const before = this.#entries.get(id);
    const owner = entry.owner === UNKNOWN_OWNER ? (before?.owner ?? entry.owner) : entry.owner;
    if (before) this.#bytes.give(before.owner, before.bytes);
    if (entry.bytes > 0 && this.#bytes.take(owner, entry.bytes) !== 'taken') {
      if (before && before.bytes > 0) this.#bytes.take(before.owner, before.bytes);
      return false;
    }
    if (before) this.#unindex(id, { ...before, bytes: 0 });
    this.#addToIndex(id, entry);
    this.#entries.set(owner, id, { ...entry, owner });
    return true;
  }

  delete(id: string): void {
    const entry = this.#entries.get(id);
    if (!entry) return;
    this.#unindex(id, entry);
    this.#entries.delete(id);
  }

  #addToIndex(id: string, { path, level, subscriptions }: PreferencesEntry): void {
    if (level !== undefined) this.levels.add(path, level, 1);
    for (const one of subscriptions) {
      this.index.all.add(id, one);
      if (isEphemeral(id)) this.index.ephemeral.add(id, one);
    }
  }

  /** Removes an entry from everything derived from it. */
  #unindex(id: string, { owner, path, level, subscriptions, bytes }: PreferencesEntry): void {
    this.#bytes.give(owner, bytes);
    if (level !== undefined) this.levels.add(path, level, -1);
    for (const one of subscriptions) {
      this.index.all.delete(id, one);
      if (isEphemeral(id)) this.index.ephemeral.delete(id, one);
    }
  }
}
