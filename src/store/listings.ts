/**
 * Stores the last known lists of each server, so that a restarted hub can serve at once.
 * Guarantees: an unreadable row is left out and does not affect others; rows of older versions are completed.
 */

import { type Listing, type OlderListing, wholeListing } from '../model/snapshot.ts';
import type { Deadline } from '../runtime/deadline.ts';
import { jsonPieces } from '../runtime/json-pieces.ts';
import type { Store } from './store.ts';

export function listListings(store: Store, deadline: Deadline): Promise<Listing[]> {
  return store.run(
    'list listings',
    async (db) => {
      const rows = await db.selectFrom('listings').select(['server', 'json']).orderBy('server').execute();
      const listings: Listing[] = []; // bounded by: servers that the configuration has ever had
      for (const { server, json } of rows) {
        const query = db.selectFrom('listing_parts').select('json').where('server', '=', server).orderBy('part');
        const parts = json === '' ? await query.execute() : [];
        const listing = parseListing(json + parts.map((part) => part.json).join(''));
        if (listing) listings.push(listing);
      }
      return listings;
    },
    deadline,
  );
}

/** Approximate characters written in one turn of the event loop. */
const TURN_CHARS = 128 * 1024;

/**
 * Stores the lists of these servers in one transaction, over several turns of the event loop. Throws like `Store.run`.
 */
export function putListings(store: Store, listings: readonly Listing[], deadline: Deadline): Promise<void> {
  return store.run(
    `put listings of ${listings.map(({ server }) => server).join(', ')}`.slice(0, 200),
    async (db, turn) => {
      let chars = 0;
      for (const listing of listings) {
        const { server, atMs, digest } = listing;
        await db.deleteFrom('listing_parts').where('server', '=', server).execute();
        // The text of most lists fits in one row and needs no parts.
        let whole: string | undefined;
        let part = 0;
        for (const json of jsonPieces(listing)) {
          if (part === 0 && json.length < TURN_CHARS) whole = json;
          else await db.insertInto('listing_parts').values({ server, part, json }).execute();
          part += 1;
          chars += json.length;
          if (chars < TURN_CHARS) continue;
          chars = 0;
          await turn();
        }
        await db
          .replaceInto('listings')
          .values({ server, at: atMs, digest, json: whole ?? '' })
          .execute();
      }
    },
    deadline,
  );
}

function parseListing(json: string): Listing | undefined {
  try {
    return wholeListing(JSON.parse(json) as OlderListing);
  } catch {
    return undefined;
  }
}
