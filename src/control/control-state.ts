/**
 * Holds in memory everything that snapshots are built from: read from the store at the start, updated by the other
 * files of this module.
 * Guarantees: reading never waits, and works while the store fails.
 */
import type { Config } from '../config/load.ts';
import type { GivenName, GroupSpec, KeyRecord, Listing, ServerSpec, Snapshot } from '../model/snapshot.ts';
import type { Deadline } from '../runtime/deadline.ts';
import { listKeys, type StoredKey } from '../store/keys.ts';
import { listListings } from '../store/listings.ts';
import { listNames } from '../store/names.ts';
import { type GivenSlug, listSlugs } from '../store/slugs.ts';
import type { Store } from '../store/store.ts';
import { buildSnapshot, groupSpecs, serverSpecs, validKeyRecords } from './build-snapshot.ts';

export class ControlState {
  readonly workers: number;
  config: Config;
  slugs: readonly GivenSlug[] = []; // bounded by: names that the configuration has ever had
  keys: readonly StoredKey[] = []; // bounded by: keys created by the owner
  names: readonly GivenName[] = []; // bounded by: limits.servers × limits.serverTools, and 1000 retired a server
  listings: ReadonlyMap<string, Listing> = new Map(); // bounded by: servers that the configuration has ever had

  constructor(config: Config, workers: number) {
    this.config = config;
    this.workers = workers;
  }

  async load(store: Store, deadline: Deadline): Promise<void> {
    this.slugs = await listSlugs(store, deadline);
    this.keys = await listKeys(store, deadline);
    this.names = (await listNames(store, deadline)).map((name, age) => ({ ...name, age }));
    const listings = await listListings(store, deadline);
    this.listings = new Map(listings.map((listing) => [listing.server, listing]));
  }

  get servers(): ServerSpec[] {
    return serverSpecs(this);
  }

  get groups(): GroupSpec[] {
    return groupSpecs(this);
  }

  snapshot(revision: number, keysRevision: number): Snapshot {
    return buildSnapshot({
      config: this.config,
      slugs: this.slugs,
      keys: this.keys,
      names: this.names,
      listings: this.listings.values(),
      workers: this.workers,
      revision,
      keysRevision,
    });
  }

  get validKeys(): KeyRecord[] {
    return validKeyRecords(this.keys);
  }

  putListing(listing: Listing): void {
    this.listings = new Map(this.listings).set(listing.server, listing);
  }

  /** Adds a key, or replaces the one with the same id. */
  putKey(key: StoredKey): void {
    this.keys = [key, ...this.keys.filter(({ id }) => id !== key.id)].sort((a, b) => b.createdAtMs - a.createdAtMs);
  }
}
