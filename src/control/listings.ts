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

export interface ListingsParts {
  readonly runtime: Runtime;
  readonly limits: Limits;
  readonly store: Store;
  readonly state: ControlState;
  readonly onChanged: () => void;
}

export class Listings {
  readonly #parts: ListingsParts;
  readonly #waiting: CappedMap<string, Listing>;
  readonly #unsaved: CappedMap<string, Listing>;
  #isWorking = false;

  constructor(parts: ListingsParts) {
    const { runtime, limits } = parts;
    this.#parts = parts;
    const max = () => limits.servers;
    this.#waiting = new CappedMap('control.listings', max, 'drop-oldest', runtime.ceilings);
    this.#unsaved = new CappedMap('control.unkept', max, 'drop-oldest', runtime.ceilings);
  }

  receive(listing: Listing): void {
    const { runtime } = this.#parts;
    this.#waiting.set(listing.server, listing);
    if (this.#isWorking) return;
    this.#isWorking = true;
    runtime.scope.run('listings', () => this.#work());
  }

  /** Assigns names to the current listings, after a change of the configuration. */
  assignNames(): void {
    const { state, runtime } = this.#parts;
    const { listings, servers, names: assigned } = state;
    const keeping = this.#applyNameChange(nameChange({ listings: [...listings.values()], servers, assigned }));
    runtime.scope.run('store names', () => keeping);
  }

  async #work(): Promise<void> {
    const { state, onChanged } = this.#parts;
    try {
      while (this.#waiting.size > 0) {
        const fresh: Listing[] = []; // bounded by: limits.servers
        for (const [server, listing] of this.#waiting.entries()) {
          this.#waiting.delete(server);
          if (this.#hasChanges(listing)) fresh.push(listing);
        }
        if (fresh.length === 0) continue;
        const change = await this.#nameChangeWith(fresh);
        for (const listing of fresh) {
          state.putListing(listing);
          this.#unsaved.set(listing.server, listing);
        }
        const keeping = this.#applyNameChange(change);
        onChanged();
        await this.#saveListings();
        await keeping;
      }
    } finally {
      this.#isWorking = false;
    }
  }

  /** Returns whether a listing has new content. An unchanged one replaces the stored one in memory. */
  #hasChanges(listing: Listing): boolean {
    const { state } = this.#parts;
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
  async #nameChangeWith(fresh: readonly Listing[]): Promise<NameChange> {
    const { state, runtime } = this.#parts;
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
  #nextBatch(): Listing[] {
    const listings: Listing[] = [];
    let chars = 0;
    for (const [, listing] of this.#unsaved.entries()) {
      if (chars >= TRANSACTION_CHARS) break;
      listings.push(listing);
      for (const kind of KINDS) for (const { json } of listing[kind]) chars += json.length;
    }
    return listings;
  }

  async #saveListings(): Promise<void> {
    const { runtime, store } = this.#parts;
    while (this.#unsaved.size > 0) {
      const listings = this.#nextBatch();
      using deadline = runtime.deadline(STORE_TIMEOUT_MS);
      try {
        await putListings(store, listings, deadline);
        for (const listing of listings)
          if (this.#unsaved.get(listing.server) === listing) this.#unsaved.delete(listing.server);
      } catch (fault) {
        runtime.bus.publish({ type: 'task-faulted', task: 'store listing', fault });
        return;
      }
      await new Promise<void>((resolve) => runtime.timers.afterInput(resolve));
    }
  }

  /** Settles when the change is stored, or could not be. */
  async #applyNameChange(change: NameChange): Promise<void> {
    const { state, runtime, store } = this.#parts;
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
}
