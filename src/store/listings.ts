/**
 * The last known good lists of each server, so that a restarted hub serves at once.
 * Promises: a row that cannot be read is left out, never a failure of the others; one that an older version kept is made whole.
 */
import type { Deadline } from '../kernel/deadline.ts';
import { type Listing, type OlderListing, wholeListing } from '../kernel/snapshot.ts';
import type { Store } from './store.ts';

export function listListings(store: Store, deadline: Deadline): Promise<Listing[]> {
  return store.run(
    'list listings',
    async (db) => {
      const rows = await db.selectFrom('listings').select('json').orderBy('server').execute();
      return rows.flatMap(({ json }) => listingFrom(json) ?? []);
    },
    deadline,
  );
}

export function putListing(store: Store, listing: Listing, deadline: Deadline): Promise<void> {
  const { server, atMs, digest } = listing;
  const json = JSON.stringify(listing);
  return store.run(
    `put listing of ${server}`,
    async (db) => {
      await db.replaceInto('listings').values({ server, at: atMs, digest, json }).execute();
    },
    deadline,
  );
}

function listingFrom(json: string): Listing | undefined {
  try {
    return wholeListing(JSON.parse(json) as OlderListing);
  } catch {
    return undefined;
  }
}
