/**
 * Stores single numbers: the revision counter of snapshots.
 * Guarantees: the counter only rises.
 */
import type { Deadline } from '../runtime/deadline.ts';
import type { Store } from './store.ts';

const REVISION = 'revision';

export function readRevision(store: Store, deadline: Deadline): Promise<number> {
  return store.run(
    'read revision',
    async (db) => {
      const row = await db.selectFrom('meta').select('value').where('name', '=', REVISION).executeTakeFirst();
      return row?.value ?? 0;
    },
    deadline,
  );
}

/** Raises the counter to `revision` if that is higher. */
export function raiseRevision(store: Store, revision: number, deadline: Deadline): Promise<void> {
  return store.run(
    'raise revision',
    async (db) => {
      await db
        .insertInto('meta')
        .values({ name: REVISION, value: revision })
        .onConflict((conflict) =>
          conflict.column('name').doUpdateSet({ value: revision }).where('meta.value', '<', revision),
        )
        .execute();
    },
    deadline,
  );
}
