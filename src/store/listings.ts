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

/** A server's lists as they are kept. `json` is the whole listing; its length, in UTF-16 units, is about what it costs to write. */
export interface ListingRow {
  readonly server: string;
  /** Wall clock ms. */
  readonly at: number;
  readonly digest: string;
  readonly json: string;
}

export function listingRow(listing: Listing): ListingRow {
  const { server, atMs, digest } = listing;
  return { server, at: atMs, digest, json: JSON.stringify(listing) };
}

/** Keeps the lists of these servers in one transaction: all or none. Throws as `Store.run` does. */
export function putListings(store: Store, rows: readonly ListingRow[], deadline: Deadline): Promise<void> {
  return store.run(
    `put listings of ${rows.map(({ server }) => server).join(', ')}`.slice(0, 200),
    async (db) => {
      for (const row of rows) await db.replaceInto('listings').values(row).execute();
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
