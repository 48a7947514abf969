/**
 * Exposed tool names, given once. They are kept in the order in which they were given, which matters when old ones are let go.
 * Does not: give names (`catalog/names.ts`).
 */
import type { Deadline } from '../kernel/deadline.ts';
import type { GivenName } from '../kernel/snapshot.ts';
import type { Store } from './store.ts';

/** In the order of giving. */
export function listNames(store: Store, deadline: Deadline): Promise<GivenName[]> {
  return store.run(
    'list names',
    async (db) => {
      const rows = await db
        .selectFrom('names')
        .selectAll()
        .orderBy('rowid' as 'exposed')
        .execute();
      return rows.map(({ exposed, server, native }) => ({ exposed, server, native }));
    },
    deadline,
  );
}

/** Adds names and lets go of others, all or nothing. A name that was another tool's (its server is gone) changes hands. */
export function changeNames(
  store: Store,
  change: { readonly add: readonly GivenName[]; readonly drop: readonly string[] },
  deadline: Deadline,
): Promise<void> {
  return store.run(
    'change names',
    async (db) => {
      for (const exposed of change.drop) await db.deleteFrom('names').where('exposed', '=', exposed).execute();
      for (const name of change.add) await db.replaceInto('names').values(name).execute();
    },
    deadline,
  );
}
