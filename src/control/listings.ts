/**
 * What hubs read from servers becomes part of the world: named, published, kept.
 * Promises: a listing that changes nothing costs nothing; those that come together are named, published and kept together, the newest of a
 * server counting; with a failing store they still reach the hubs, and are kept with the next change.
 */
import type { Limits } from '../config/limits.ts';
import { CappedMap } from '../kernel/capped.ts';
import type { Kernel } from '../kernel/kernel.ts';
import type { Listing } from '../kernel/snapshot.ts';
import { type ListingRow, listingRow, putListings } from '../store/listings.ts';
import { changeNames } from '../store/names.ts';
import type { Store } from '../store/store.ts';
import { changeOfNames, shadowedIn } from './names.ts';
import type { World } from './world.ts';

const KEEP_MS = 10_000;
/** Lists of several servers share a transaction, which waits for the disk once, up to this many characters. */
const TRANSACTION_CHARS = 256 * 1024;
/** Addresses named in one event. */
const SHOWN = 5;

export interface Listings {
  take(listing: Listing): void;
  /** Gives names to what is there (after the configuration has changed). */
  nameAll(): void;
}

export function createListings(parts: {
  readonly kernel: Kernel;
  readonly limits: Limits;
  readonly store: Store;
  readonly world: World;
  readonly changed: () => void;
}): Listings {
  const { kernel, limits, store, world, changed } = parts;
  const waiting = new CappedMap<string, Listing>('control.listings', limits.servers, 'drop-oldest', kernel.ceilings);
  const unkept = new CappedMap<string, Listing>('control.unkept', limits.servers, 'drop-oldest', kernel.ceilings);
  let isWorking = false;

  async function work(): Promise<void> {
    try {
      while (waiting.size > 0) {
        let isChanged = false;
        for (const [server, listing] of waiting.entries()) {
          waiting.delete(server);
          if (accept(listing)) isChanged = true;
        }
        if (!isChanged) continue;
        nameAll();
        changed();
        await keepListings();
      }
    } finally {
      isWorking = false;
    }
  }

  /** Whether it says anything new. */
  function accept(listing: Listing): boolean {
    if (!world.servers.some(({ slug }) => slug === listing.server)) return false;
    const before = world.listings.get(listing.server);
    if (before && before.atMs > listing.atMs) return false;
    world.putListing(listing);
    const isSame =
      before?.digest === listing.digest &&
      before.instructions === listing.instructions &&
      before.hidden.length === listing.hidden.length;
    if (isSame) return false;
    unkept.set(listing.server, listing);
    return true;
  }

  /** The next lists to keep, of at least one server. */
  function nextToKeep(): { readonly listings: Listing[]; readonly rows: ListingRow[] } {
    const listings: Listing[] = [];
    const rows: ListingRow[] = [];
    let chars = 0;
    for (const [, listing] of unkept.entries()) {
      if (chars >= TRANSACTION_CHARS) break;
      const row = listingRow(listing);
      chars += row.json.length;
      listings.push(listing);
      rows.push(row);
    }
    return { listings, rows };
  }

  async function keepListings(): Promise<void> {
    while (unkept.size > 0) {
      const { listings, rows } = nextToKeep();
      using deadline = kernel.deadline(KEEP_MS);
      try {
        await putListings(store, rows, deadline);
        for (const listing of listings) if (unkept.get(listing.server) === listing) unkept.delete(listing.server);
      } catch (fault) {
        kernel.bus.publish({ type: 'task-faulted', task: 'keep listing', fault });
        return;
      }
      await new Promise<void>((resolve) => kernel.timers.afterInput(resolve));
    }
  }

  function nameAll(): void {
    const change = changeOfNames({
      listings: [...world.listings.values()],
      servers: world.servers,
      given: world.names,
    });
    world.names = change.given;
    if (change.add.length === 0 && change.drop.length === 0) return;
    for (const [server, addresses] of shadowedIn(change.add)) {
      const shown = addresses.slice(0, SHOWN).map((address) => address.slice(0, 200));
      kernel.bus.publish({ type: 'resources-shadowed', server, count: addresses.length, addresses: shown });
    }
    kernel.scope.run('keep names', async () => {
      using deadline = kernel.deadline(KEEP_MS);
      await changeNames(store, change, deadline);
    });
  }

  return {
    take(listing) {
      waiting.set(listing.server, listing);
      if (isWorking) return;
      isWorking = true;
      kernel.scope.run('listings', work);
    },
    nameAll,
  };
}
