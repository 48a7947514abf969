/**
 * What hubs read from servers becomes part of the world: kept, named, published.
 * Promises: a listing that changes nothing costs nothing; listings that come faster than they are kept are merged per server, the newest
 * counting; with a failing store they still reach the hubs, and are kept with the next change.
 */
import type { Limits } from '../config/limits.ts';
import { CappedMap } from '../kernel/capped.ts';
import type { Kernel } from '../kernel/kernel.ts';
import type { Listing } from '../kernel/snapshot.ts';
import { putListing } from '../store/listings.ts';
import { changeNames } from '../store/names.ts';
import type { Store } from '../store/store.ts';
import { changeOfNames, shadowedIn } from './names.ts';
import type { World } from './world.ts';

const KEEP_MS = 10_000;
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
      for (const [server, listing] of waiting.entries()) {
        waiting.delete(server);
        await accept(listing);
      }
    } finally {
      isWorking = false;
    }
  }

  async function accept(listing: Listing): Promise<void> {
    if (!world.servers.some(({ slug }) => slug === listing.server)) return;
    const before = world.listings.get(listing.server);
    if (before && before.atMs > listing.atMs) return;
    world.putListing(listing);
    const isSame =
      before?.digest === listing.digest &&
      before.instructions === listing.instructions &&
      before.hidden.length === listing.hidden.length;
    if (isSame) return;
    unkept.set(listing.server, listing);
    nameAll();
    changed();
    await keepListings();
  }

  async function keepListings(): Promise<void> {
    for (const [server, listing] of [...unkept.entries()]) {
      using deadline = kernel.deadline(KEEP_MS);
      try {
        await putListing(store, listing, deadline);
        if (unkept.get(server) === listing) unkept.delete(server);
      } catch (fault) {
        kernel.bus.publish({ type: 'task-faulted', task: 'keep listing', fault });
        return;
      }
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
