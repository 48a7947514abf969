/**
 * Takes new snapshots and new lists into the catalog of a worker.
 * Guarantees: settings, keys and servers of a snapshot are in effect when `take` returns; lists and names are built
 * over several turns.
 */
import { buildListingInTurns } from '../catalog/listing.ts';
import type { CurrentLimits } from '../config/current-limits.ts';
import { limitsFrom } from '../config/limits.ts';
import type { Listing, RawListing, Snapshot, SnapshotHolder } from '../model/snapshot.ts';
import type { Runtime } from '../runtime/runtime.ts';
import type { ServerRegistry } from '../upstream/registry.ts';
import { type CatalogBuild, isSameShape } from './catalog-build.ts';
import { listedEvent } from './listed-event.ts';
import type { OwnLists } from './own-lists.ts';

const LISTING_MS = 10_000;

export interface SnapshotIntakeParts {
  readonly runtime: Runtime;
  readonly currentLimits: CurrentLimits;
  readonly snapshots: SnapshotHolder;
  readonly own: OwnLists;
  readonly building: CatalogBuild;
  readonly registry: ServerRegistry;
  /** Passes a new listing of a server to control. */
  readonly listed: (listing: Listing) => void;
}

export class SnapshotIntake {
  readonly #parts: SnapshotIntakeParts;

  constructor(parts: SnapshotIntakeParts) {
    this.#parts = parts;
  }

  take(snapshot: Snapshot, source: 'control' | 'disk'): void {
    const { runtime, currentLimits, snapshots, own, building, registry } = this.#parts;
    const before = snapshots.current;
    if (snapshots.swapLists(snapshot)) {
      own.swapped(snapshot, source);
      return building.soon();
    }
    if (!snapshots.swap(snapshot)) return;
    currentLimits.adopt(limitsFrom(snapshot.limits));
    own.swapped(snapshot, source);
    registry.apply(snapshot.servers);
    if (source === 'control' && isSameShape(before, snapshot)) building.soon();
    else building.now();
    runtime.bus.publish({
      type: 'snapshot-swapped',
      revision: snapshot.revision,
      servers: snapshot.servers.length,
      keys: snapshot.keys.length,
      source,
    });
  }

  /** Takes the lists that a server returned. */
  async listed(raw: RawListing): Promise<void> {
    const { runtime, currentLimits, own, building } = this.#parts;
    const { limits } = currentLimits;
    using deadline = runtime.deadline(LISTING_MS);
    const before = own.listing(raw.server);
    const listing = await buildListingInTurns(raw, { runtime, limits, before }, deadline);
    const changed = before?.digest !== listing.digest;
    own.put(listing);
    if (changed || before === undefined) await building.done(deadline);
    runtime.bus.publish(listedEvent(raw.server, listing, changed));
    if (changed) this.#parts.listed(listing);
  }
}
