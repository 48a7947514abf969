/**
 * Stores exposed names of tools and prompts, in the order of assignment: when names are deleted, the oldest go first.
 */
import { sql } from 'kysely';
import type { GivenName } from '../model/snapshot.ts';
import type { Deadline } from '../runtime/deadline.ts';
import type { Store } from './store.ts';

/** Returns names in the order of assignment. */
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

/** Names in one SQL statement: 1 to 2 ms of work. */
const BATCH = 250;

/**
 * Adds and deletes names in one transaction, over several turns of the event loop. A name of a server that is no longer
 * configured may be reassigned to another tool.
 */
export function changeNames(
  store: Store,
  change: { readonly add: readonly GivenName[]; readonly drop: readonly GivenName[] },
  deadline: Deadline,
): Promise<void> {
  return store.run(
    'change names',
    async (db, turn) => {
      for (const names of batches(change.drop)) {
        const keys = JSON.stringify(names.map(({ kind, exposed }) => [kind, exposed]));
        await sql`delete from names where (kind, exposed) in (select value ->> 0, value ->> 1 from json_each(${keys}))`.execute(
          db,
        );
        await turn();
      }
      for (const names of batches(change.add)) {
        const rows = JSON.stringify(names.map(({ kind, exposed, server, native }) => [kind, exposed, server, native]));
        await sql`replace into names (kind, exposed, server, native)
          select value ->> 0, value ->> 1, value ->> 2, value ->> 3 from json_each(${rows})`.execute(db);
        await turn();
      }
    },
    deadline,
  );
}

function* batches(names: readonly GivenName[]): Generator<readonly GivenName[], void> {
  for (let at = 0; at < names.length; at += BATCH) yield names.slice(at, at + BATCH);
}
