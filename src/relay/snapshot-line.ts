/**
 * A snapshot as the line that goes to workers, within a size. Lists of servers that do not fit are left out, the largest first, so that
 * servers, groups and keys always travel.
 */
import { HubError } from '../kernel/errors.ts';
import type { CatalogSize, Listing, Snapshot } from '../kernel/snapshot.ts';
import { lineFrom } from './relay-words.ts';

interface SnapshotLine {
  readonly line: Buffer;
  readonly leftOut: readonly CatalogSize[];
}

export class SnapshotLines {
  readonly #maxBytes: () => number;
  /** Bytes of each listing as JSON; a listing is never changed. */
  readonly #sizes = new WeakMap<Listing, number>(); // bounded by: the listings in memory

  constructor(maxBytes: () => number) {
    this.#maxBytes = maxBytes;
  }

  /** Throws `store-failed` when even without lists it is too large. */
  lineOf(snapshot: Snapshot): SnapshotLine {
    const maxBytes = this.#maxBytes();
    const { kept, leftOut } = this.#fitting(snapshot, maxBytes);
    const catalogsTooLarge = [...(snapshot.catalogsTooLarge ?? []), ...leftOut];
    const fitting = catalogsTooLarge.length === 0 ? snapshot : { ...snapshot, listings: kept, catalogsTooLarge };
    const line = Buffer.from(lineFrom({ t: 'snapshot', snapshot: fitting }));
    if (line.length <= maxBytes) return { line, leftOut };
    throw new HubError('store-failed', {
      message: `the snapshot is ${line.length} bytes without lists; snapshotBytes allows ${maxBytes}`,
    });
  }

  #fitting(snapshot: Snapshot, maxBytes: number): { kept: readonly Listing[]; leftOut: CatalogSize[] } {
    const { listings } = snapshot;
    const leftOut: CatalogSize[] = []; // bounded by: servers
    const bySize = listings.map((listing) => ({ listing, bytes: this.#sizeOf(listing) }));
    bySize.sort((a, b) => b.bytes - a.bytes);
    // What is not a list; names grow with the lists.
    const rest = lineFrom({ t: 'snapshot', snapshot: { catalogsTooLarge: [], ...snapshot, listings: [] } });
    let bytes = bySize.reduce((sum, one) => sum + one.bytes, Buffer.byteLength(rest));
    const dropped = new Set<Listing>(); // bounded by: servers
    for (const { listing, bytes: size } of bySize) {
      if (bytes <= maxBytes) break;
      const left = { server: listing.server, bytes: size };
      bytes -= size - JSON.stringify(left).length - 1;
      dropped.add(listing);
      leftOut.push(left);
    }
    return { kept: listings.filter((listing) => !dropped.has(listing)), leftOut };
  }

  /** With the comma that follows it. */
  #sizeOf(listing: Listing): number {
    const known = this.#sizes.get(listing);
    if (known !== undefined) return known;
    const bytes = Buffer.byteLength(JSON.stringify(listing)) + 1;
    this.#sizes.set(listing, bytes);
    return bytes;
  }
}
