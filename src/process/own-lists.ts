/**
 * The snapshot with the lists of this worker that are newer than control's.
 * Guarantees: new tools are named at once, the same way control will; while control is away, what was named first stays first.
 */
import { giveNames } from '../catalog/names.ts';
import type { Listing, Snapshot, SnapshotHolder } from '../kernel/snapshot.ts';

export class OwnLists {
  readonly #snapshots: SnapshotHolder;
  readonly #lists = new Map<string, Listing>(); // bounded by: servers
  #names: Snapshot['names'] = []; // bounded by: those of the snapshot, and of #lists
  /** What `world` returned last, and for which snapshot: to name thousands of tools takes milliseconds. */
  #built: { readonly of: Snapshot; readonly world: Snapshot } | undefined;

  constructor(snapshots: SnapshotHolder) {
    this.#snapshots = snapshots;
  }

  /** The newest of a server. */
  listing(server: string): Listing | undefined {
    return this.#lists.get(server) ?? this.#snapshots.current.listings.find((one) => one.server === server);
  }

  put(listing: Listing): void {
    this.#lists.set(listing.server, listing);
    this.#built = undefined;
  }

  /** There is another snapshot. */
  swapped({ servers }: Snapshot, source: 'control' | 'disk'): void {
    if (source === 'control') this.#names = [];
    for (const server of this.#lists.keys())
      if (!servers.some(({ slug }) => slug === server)) this.#lists.delete(server);
    this.#built = undefined;
  }

  /** The same object until something changes. */
  world(): Snapshot {
    const { current } = this.#snapshots;
    if (this.#built?.of !== current) {
      this.#built = { of: current, world: this.#build(current) };
      this.#names = this.#built.world.names;
    }
    return this.#built.world;
  }

  #build(current: Snapshot): Snapshot {
    const known = new Map(current.listings.map((listing) => [listing.server, listing])); // bounded by: servers
    for (const [server, listing] of this.#lists)
      if ((known.get(server)?.atMs ?? 0) <= listing.atMs) known.set(server, listing);
    const listings = current.servers.flatMap((server) => known.get(server.slug) ?? []);
    const given = [...current.names, ...this.#names];
    return { ...current, listings, names: giveNames({ listings, servers: current.servers, given }) };
  }
}
