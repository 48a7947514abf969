/**
 * Readable ASCII forms of servers' and groups' names, given once and kept for ever: a server that comes back finds its own again.
 * Does not: invent them (`control/slugs.ts`).
 */
import type { Deadline } from '../kernel/deadline.ts';
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

/** Adds new ones, all or none. */
export function addSlugs(store: Store, slugs: readonly GivenSlug[], deadline: Deadline): Promise<void> {
  return store.run(
    'add slugs',
    async (db) => {
      for (const slug of slugs) await db.insertInto('slugs').values(slug).execute();
    },
    deadline,
  );
}
