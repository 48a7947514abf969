/**
 * Exposed names of tools and prompts, given once. They are kept in the order in which they were given, which matters when old ones are let go.
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
      return rows.map(({ kind, exposed, server, native }) => ({ kind, exposed, server, native }));
    },
    deadline,
  );
}

/** Adds names and lets go of others, all or nothing. A name that was another tool's (its server is gone) changes hands. */
export function changeNames(
  store: Store,
  change: { readonly add: readonly GivenName[]; readonly drop: readonly GivenName[] },
  deadline: Deadline,
): Promise<void> {
  return store.run(
    'change names',
    async (db) => {
      for (const { kind, exposed } of change.drop)
        await db.deleteFrom('names').where('kind', '=', kind).where('exposed', '=', exposed).execute();
      for (const name of change.add) await db.replaceInto('names').values(name).execute();
    },
    deadline,
  );
}
