/**
 * Ids of sessions that clients have ended, so that they stay ended after a crash.
 * Promises: at most `max` are kept, and none older than asked for; adding one twice changes nothing.
 */
import type { Deadline } from '../kernel/deadline.ts';
import type { Store } from './store.ts';

export interface Tombstone {
  readonly id: string;
  /** Wall clock ms. */
  readonly atMs: number;
}

/** Those at or after `sinceMs`, newest first, at most `max`. */
export function listTombstones(
  store: Store,
  range: { readonly sinceMs: number; readonly max: number },
  deadline: Deadline,
): Promise<Tombstone[]> {
  return store.run(
    'list tombstones',
    async (db) => {
      const rows = await db
        .selectFrom('tombstones')
        .selectAll()
        .where('at', '>=', range.sinceMs)
        .orderBy('at', 'desc')
        .limit(range.max)
        .execute();
      return rows.map(({ id, at }) => ({ id, atMs: at }));
    },
    deadline,
  );
}

export function addTombstones(store: Store, tombstones: readonly Tombstone[], deadline: Deadline): Promise<void> {
  return store.run(
    'add tombstones',
    async (db) => {
      for (const { id, atMs } of tombstones) await db.replaceInto('tombstones').values({ id, at: atMs }).execute();
    },
    deadline,
  );
}

/** Forgets those before `beforeMs`. */
export function dropTombstones(store: Store, beforeMs: number, deadline: Deadline): Promise<void> {
  return store.run(
    'drop tombstones',
    async (db) => {
      await db.deleteFrom('tombstones').where('at', '<', beforeMs).execute();
    },
    deadline,
  );
}
