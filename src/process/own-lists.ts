/**
 * The snapshot combined with the lists of this worker that are newer than control's.
 * Guarantees: new tools get names at once, in the same way as control assigns them; while control is unavailable, names
 * that were assigned first stay.
 */
import { nameSteps } from '../catalog/names.ts';
import type { Listing, Snapshot, SnapshotHolder } from '../model/snapshot.ts';
import { atOnce } from '../runtime/take-turn.ts';

export class OwnLists {
  readonly #snapshots: SnapshotHolder;
  readonly #lists = new Map<string, Listing>(); // bounded by: servers
  /** Number of lists added or removed. */
  #changes = 0;
  #names: Snapshot['names'] = []; // bounded by: those of the snapshot, and of #lists
  /**
   * The last result of `snapshot` and the snapshot it was built for, because naming thousands of tools takes
   * milliseconds.
   */
  #built: { readonly of: Snapshot; readonly snapshot: Snapshot } | undefined;

  constructor(snapshots: SnapshotHolder) {
    this.#snapshots = snapshots;
  }

  /** Returns the newest list of a server. */
  listing(server: string): Listing | undefined {
    return this.#lists.get(server) ?? this.#snapshots.current.listings.find((one) => one.server === server);
  }

  put(listing: Listing): void {
    this.#lists.set(listing.server, listing);
    this.#changed();
  }

  /** Records that the snapshot was replaced. */
  swapped({ servers }: Snapshot, source: 'control' | 'disk'): void {
    if (source === 'control') this.#names = [];
    for (const server of this.#lists.keys())
      if (!servers.some(({ slug }) => slug === server)) {
        this.#lists.delete(server);
        this.#changed();
      }
  }

  #changed(): void {
    this.#changes += 1;
    this.#built = undefined;
  }

  /** Returns the combined snapshot; the same object until something changes. */
  snapshot(): Snapshot {
    return atOnce(this.snapshotSteps());
  }

  /** Works like `snapshot` in steps of about a millisecond. */
  *snapshotSteps(): Generator<void, Snapshot> {
    for (;;) {
      const { current } = this.#snapshots;
      if (this.#built?.of === current) return this.#built.snapshot;
      const changes = this.#changes;
      const snapshot = this.#renewed(current) ?? (yield* this.#steps(current));
      if (changes !== this.#changes || current !== this.#snapshots.current) continue;
      this.#built = { of: current, snapshot };
      this.#names = snapshot.names;
    }
  }

  /**
   * Returns the last result, adapted to the current snapshot, when nothing that names depend on has changed; otherwise
   * undefined.
   */
  #renewed(current: Snapshot): Snapshot | undefined {
    if (!this.#built) return undefined;
    const { of, snapshot } = this.#built;
    const isSame =
      of.listings === current.listings &&
      of.names === current.names &&
      of.servers.length === current.servers.length &&
      of.servers.every(({ slug }, at) => slug === current.servers[at]?.slug);
    return isSame ? { ...current, listings: snapshot.listings, names: snapshot.names } : undefined;
  }

  *#steps(current: Snapshot): Generator<void, Snapshot> {
    const known = new Map(current.listings.map((listing) => [listing.server, listing])); // bounded by: servers
    for (const [server, listing] of this.#lists)
      if ((known.get(server)?.atMs ?? 0) <= listing.atMs) known.set(server, listing);
    const listings = current.servers.flatMap((server) => known.get(server.slug) ?? []);
    const assigned = [...current.names, ...this.#names];
    return { ...current, listings, names: yield* nameSteps({ listings, servers: current.servers, assigned }) };
  }
}
