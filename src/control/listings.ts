/**
 * Names, publishes and stores the lists that workers read from servers.
 * Guarantees: an unchanged listing causes no work; listings that arrive together are named, published and stored
 * together, the newest of each server; while the store fails they still reach the workers, and are stored with the next
 * change.
 */
import type { Limits } from '../config/limits.ts';
import type { Listing } from '../model/snapshot.ts';
import { CappedMap } from '../runtime/capped.ts';
import type { Runtime } from '../runtime/runtime.ts';
import { inTurns } from '../runtime/take-turn.ts';
import { putListings } from '../store/listings.ts';
import { changeNames } from '../store/names.ts';
import type { Store } from '../store/store.ts';
import type { ControlState } from './control-state.ts';
import { type NameChange, nameChange, nameChangeSteps, shadowedAddresses } from './exposed-names.ts';

const STORE_TIMEOUT_MS = 10_000;
/** Lists of several servers share one transaction (one wait for the disk), up to this many characters. */
const TRANSACTION_CHARS = 256 * 1024;
const KINDS = ['tools', 'prompts', 'resources', 'templates'] as const;
/** Addresses in one event. */
const MAX_SHOWN = 5;

export interface Listings {
  receive(listing: Listing): void;
  /** Assigns names to the current listings, after a change of the configuration. */
  assignNames(): void;
}

export function createListings(parts: {
  readonly runtime: Runtime;
  readonly limits: Limits;
  readonly store: Store;
  readonly state: ControlState;
  readonly onChanged: () => void;
}): Listings {
  const { runtime, limits, store, state, onChanged } = parts;
  const max = () => limits.servers;
  const waiting = new CappedMap<string, Listing>('control.listings', max, 'drop-oldest', runtime.ceilings);
  const unsaved = new CappedMap<string, Listing>('control.unkept', max, 'drop-oldest', runtime.ceilings);
  let isWorking = false;

  async function work(): Promise<void> {
    try {
      while (waiting.size > 0) {
        const fresh: Listing[] = []; // bounded by: limits.servers
        for (const [server, listing] of waiting.entries()) {
          waiting.delete(server);
          if (hasChanges(listing)) fresh.push(listing);
        }
        if (fresh.length === 0) continue;
        const change = await nameChangeWith(fresh);
        for (const listing of fresh) {
          state.putListing(listing);
          unsaved.set(listing.server, listing);
        }
        const keeping = applyNameChange(change);
        onChanged();
        await saveListings();
        await keeping;
      }
    } finally {
      isWorking = false;
    }
  }

  /** Returns whether a listing has new content. An unchanged one replaces the stored one in memory. */
  function hasChanges(listing: Listing): boolean {
    if (!state.servers.some(({ slug }) => slug === listing.server)) return false;
    const before = state.listings.get(listing.server);
    if (before && before.atMs > listing.atMs) return false;
    const isSame =
      before?.digest === listing.digest &&
      before.instructions === listing.instructions &&
      before.hidden.length === listing.hidden.length;
    if (isSame) state.putListing(listing);
    return !isSame;
  }

  /** Computes the names that include `fresh`; starts again when the names or the configuration change meanwhile. */
  async function nameChangeWith(fresh: readonly Listing[]): Promise<NameChange> {
    for (;;) {
      const { names: assigned, config, servers } = state;
      const isOver = (): boolean => state.names !== assigned || state.config !== config;
      const listings = new Map(state.listings); // bounded by: servers that the configuration has ever had
      for (const listing of fresh) listings.set(listing.server, listing);
      const steps = nameChangeSteps({ listings: [...listings.values()], servers, assigned });
      const change = await inTurns(steps, runtime, { owner: fresh[0]?.server ?? '', isOver });
      if (change && !isOver()) return change;
    }
  }

  /** Returns the next listings to store; at least one. */
  function nextBatch(): Listing[] {
    const listings: Listing[] = [];
    let chars = 0;
    for (const [, listing] of unsaved.entries()) {
      if (chars >= TRANSACTION_CHARS) break;
      listings.push(listing);
      for (const kind of KINDS) for (const { json } of listing[kind]) chars += json.length;
    }
    return listings;
  }

  async function saveListings(): Promise<void> {
    while (unsaved.size > 0) {
      const listings = nextBatch();
      using deadline = runtime.deadline(STORE_TIMEOUT_MS);
      try {
        await putListings(store, listings, deadline);
        for (const listing of listings) if (unsaved.get(listing.server) === listing) unsaved.delete(listing.server);
      } catch (fault) {
        runtime.bus.publish({ type: 'task-faulted', task: 'store listing', fault });
        return;
      }
      await new Promise<void>((resolve) => runtime.timers.afterInput(resolve));
    }
  }

  function assignNames(): void {
    const { listings, servers, names: assigned } = state;
    const keeping = applyNameChange(nameChange({ listings: [...listings.values()], servers, assigned }));
    runtime.scope.run('store names', () => keeping);
  }

  /** Settles when the change is stored, or could not be. */
  async function applyNameChange(change: NameChange): Promise<void> {
    state.names = change.assigned;
    if (change.add.length === 0 && change.drop.length === 0) return;
    for (const [server, addresses] of shadowedAddresses(change.add)) {
      const shown = addresses.slice(0, MAX_SHOWN).map((address) => address.slice(0, 200));
      runtime.bus.publish({ type: 'resources-shadowed', server, count: addresses.length, addresses: shown });
    }
    using deadline = runtime.deadline(STORE_TIMEOUT_MS);
    try {
      await changeNames(store, change, deadline);
    } catch (fault) {
      runtime.bus.publish({ type: 'task-faulted', task: 'store names', fault });
    }
  }

  return {
    receive(listing) {
      waiting.set(listing.server, listing);
      if (isWorking) return;
      isWorking = true;
      runtime.scope.run('listings', work);
    },
    assignNames,
  };
}
