/**
 * Stores the slugs of servers and groups for ever: a server that returns has its old slug. `control/slugs.ts` creates
 * them.
 */
import type { Deadline } from '../runtime/deadline.ts';
import type { Store } from './store.ts';

export interface GivenSlug {
  readonly kind: 'server' | 'group';
  readonly name: string;
  readonly slug: string;
}

export function listSlugs(store: Store, deadline: Deadline): Promise<GivenSlug[]> {
  return store.run(
    'list slugs',
    async (db) => {
      const rows = await db.selectFrom('slugs').selectAll().orderBy('kind').orderBy('name').execute();
      return rows.map(({ kind, name, slug }) => ({ kind, name, slug }));
    },
    deadline,
  );
}

/** Adds slugs in one transaction. */
export function addSlugs(store: Store, slugs: readonly GivenSlug[], deadline: Deadline): Promise<void> {
  return store.run(
    'add slugs',
    async (db) => {
      for (const slug of slugs) await db.insertInto('slugs').values(slug).execute();
    },
    deadline,
  );
}
