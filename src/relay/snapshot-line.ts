/**
 * A snapshot as the line that goes to workers, within a size. Lists of servers that do not fit are left out, the largest first, so that
 * servers, groups and keys always travel.
 */
import { HubError } from '../kernel/errors.ts';
import type { Listing, Snapshot } from '../kernel/snapshot.ts';
import { lineFrom } from './relay-words.ts';

/** What has been left out: a server's slug, and the bytes of its lists. */
export interface LeftOut {
  readonly server: string;
  readonly bytes: number;
}

interface SnapshotLine {
  readonly line: Buffer;
  readonly leftOut: readonly LeftOut[];
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
    const fitting = leftOut.length === 0 ? snapshot : { ...snapshot, listings: kept };
    const line = Buffer.from(lineFrom({ t: 'snapshot', snapshot: fitting }));
    if (line.length <= maxBytes) return { line, leftOut };
    throw new HubError('store-failed', {
      message: `the snapshot is ${line.length} bytes without lists; snapshotBytes allows ${maxBytes}`,
    });
  }

  #fitting(snapshot: Snapshot, maxBytes: number): { kept: readonly Listing[]; leftOut: LeftOut[] } {
    const { listings } = snapshot;
    const leftOut: LeftOut[] = []; // bounded by: servers
    const bySize = listings.map((listing) => ({ listing, bytes: this.#sizeOf(listing) }));
    bySize.sort((a, b) => b.bytes - a.bytes);
    // What is not a list; names grow with the lists.
    const rest = lineFrom({ t: 'snapshot', snapshot: { ...snapshot, listings: [] } });
    let bytes = bySize.reduce((sum, one) => sum + one.bytes, Buffer.byteLength(rest));
    const dropped = new Set<Listing>(); // bounded by: servers
    for (const { listing, bytes: size } of bySize) {
      if (bytes <= maxBytes) break;
      bytes -= size;
      dropped.add(listing);
      leftOut.push({ server: listing.server, bytes: size });
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
