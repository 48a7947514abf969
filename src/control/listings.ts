/**
 * What hubs read from servers becomes part of the world: named, published, kept.
 * Promises: a listing that changes nothing costs nothing; those that come together are named, published and kept together, the newest of a
 * server counting; with a failing store they still reach the hubs, and are kept with the next change.
 */
import type { Limits } from '../config/limits.ts';
import { CappedMap } from '../kernel/capped.ts';
import type { Kernel } from '../kernel/kernel.ts';
import type { Listing } from '../kernel/snapshot.ts';
import { inTurns } from '../kernel/take-turn.ts';
import { putListings } from '../store/listings.ts';
import { changeNames } from '../store/names.ts';
import type { Store } from '../store/store.ts';
import type { World } from './control-state.ts';
import { changeOfNames, changeSteps, type NamesChange, shadowedIn } from './exposed-names.ts';

const KEEP_MS = 10_000;
/** Lists of several servers share a transaction, which waits for the disk once, up to this many characters. */
const TRANSACTION_CHARS = 256 * 1024;
const KINDS = ['tools', 'prompts', 'resources', 'templates'] as const;
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
        const fresh: Listing[] = []; // bounded by: limits.servers
        for (const [server, listing] of waiting.entries()) {
          waiting.delete(server);
          if (isNews(listing)) fresh.push(listing);
        }
        if (fresh.length === 0) continue;
        const change = await changeWith(fresh);
        for (const listing of fresh) {
          world.putListing(listing);
          unkept.set(listing.server, listing);
        }
        const keeping = takeChange(change);
        changed();
        await keepListings();
        await keeping;
      }
    } finally {
      isWorking = false;
    }
  }

  /** Whether it says anything new; one that is read again and is the same replaces the one before. */
  function isNews(listing: Listing): boolean {
    if (!world.servers.some(({ slug }) => slug === listing.server)) return false;
    const before = world.listings.get(listing.server);
    if (before && before.atMs > listing.atMs) return false;
    const isSame =
      before?.digest === listing.digest &&
      before.instructions === listing.instructions &&
      before.hidden.length === listing.hidden.length;
    if (isSame) world.putListing(listing);
    return !isSame;
  }

  /** Names with these listings in the world; when it returns, nothing else in the world has changed meanwhile. */
  async function changeWith(fresh: readonly Listing[]): Promise<NamesChange> {
    for (;;) {
      const { names: given, config, servers } = world;
      const isOver = (): boolean => world.names !== given || world.config !== config;
      const listings = new Map(world.listings); // bounded by: servers that the configuration has ever had
      for (const listing of fresh) listings.set(listing.server, listing);
      const steps = changeSteps({ listings: [...listings.values()], servers, given });
      const change = await inTurns(steps, kernel, { owner: fresh[0]?.server ?? '', isOver });
      if (change && !isOver()) return change;
    }
  }

  /** The next lists to keep, of at least one server. */
  function nextToKeep(): Listing[] {
    const listings: Listing[] = [];
    let chars = 0;
    for (const [, listing] of unkept.entries()) {
      if (chars >= TRANSACTION_CHARS) break;
      listings.push(listing);
      for (const kind of KINDS) for (const { json } of listing[kind]) chars += json.length;
    }
    return listings;
  }

  async function keepListings(): Promise<void> {
    while (unkept.size > 0) {
      const listings = nextToKeep();
      using deadline = kernel.deadline(KEEP_MS);
      try {
        await putListings(store, listings, deadline);
        for (const listing of listings) if (unkept.get(listing.server) === listing) unkept.delete(listing.server);
      } catch (fault) {
        kernel.bus.publish({ type: 'task-faulted', task: 'keep listing', fault });
        return;
      }
      await new Promise<void>((resolve) => kernel.timers.afterInput(resolve));
    }
  }

  function nameAll(): void {
    const { listings, servers, names: given } = world;
    const keeping = takeChange(changeOfNames({ listings: [...listings.values()], servers, given }));
    kernel.scope.run('keep names', () => keeping);
  }

  /** Settles when the change is kept, or could not be. */
  async function takeChange(change: NamesChange): Promise<void> {
    world.names = change.given;
    if (change.add.length === 0 && change.drop.length === 0) return;
    for (const [server, addresses] of shadowedIn(change.add)) {
      const shown = addresses.slice(0, SHOWN).map((address) => address.slice(0, 200));
      kernel.bus.publish({ type: 'resources-shadowed', server, count: addresses.length, addresses: shown });
    }
    using deadline = kernel.deadline(KEEP_MS);
    try {
      await changeNames(store, change, deadline);
    } catch (fault) {
      kernel.bus.publish({ type: 'task-faulted', task: 'keep names', fault });
    }
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
