/**
 * A snapshot as it goes to workers: a line without lists and names, and beside it what belongs to each server.
 * Guarantees: what has not changed since the last snapshot is the same object; lists of servers that do not fit in the size are left out, the
 * largest first, so that servers, groups and keys always travel.
 */

import type { CatalogSize } from '../kernel/catalog-size.ts';
import { HubError } from '../kernel/errors.ts';
import type { GivenName, Listing, Snapshot } from '../kernel/snapshot.ts';
import { lineFrom } from './relay-messages.ts';

/** What workers know of one server's lists. */
export interface ServerCatalog {
  readonly server: string;
  /** Differs for each content. */
  readonly version: string;
  readonly listing: Listing | undefined;
  readonly names: readonly GivenName[];
}

/** JSON of a name besides its texts, bytes. */
const NAME_BYTES = 70;

export class SnapshotParts {
  readonly #maxBytes: () => number;
  /** Bytes of each listing as JSON; a listing is never changed. */
  readonly #sizes = new WeakMap<Listing, number>(); // bounded by: the listings in memory
  #snapshot: Snapshot | undefined;
  /** The line, with keys and without. */
  #head: { readonly whole: Buffer; readonly withoutKeys: Buffer } | undefined;
  #catalogs: ReadonlyMap<string, ServerCatalog> = new Map(); // bounded by: servers

  constructor(maxBytes: () => number) {
    this.#maxBytes = maxBytes;
  }

  /** By server. */
  get catalogs(): ReadonlyMap<string, ServerCatalog> {
    return this.#catalogs;
  }

  get keysRevision(): number {
    return this.#snapshot?.keysRevision ?? 0;
  }

  /** Undefined = there is no snapshot yet. */
  head(withKeys: boolean): Buffer | undefined {
    return withKeys ? this.#head?.whole : this.#head?.withoutKeys;
  }

  /** The bytes of a listing are known from the lines in which it came. */
  sized(listing: Listing, bytes: number): void {
    this.#sizes.set(listing, bytes);
  }

  /** Returns whose lists are left out. Throws `store-failed` when it is too large without lists; then the one before stays. */
  take(snapshot: Snapshot): readonly CatalogSize[] {
    const maxBytes = this.#maxBytes();
    const names = namesByServer(snapshot.names, this.#catalogs);
    const { kept, leftOut } = this.#fitting(snapshot, maxBytes);
    const listings = new Map(kept.map((listing) => [listing.server, listing])); // bounded by: servers
    const catalogs = new Map<string, ServerCatalog>();
    for (const { slug } of snapshot.servers) {
      const [listing, named = NO_NAMES] = [listings.get(slug), names.get(slug)];
      const before = this.#catalogs.get(slug);
      if (before && before.names === named && isSame(before.listing, listing)) catalogs.set(slug, before);
      else if (listing || named.length > 0)
        catalogs.set(slug, { server: slug, version: `${snapshot.revision}`, listing, names: named });
    }
    const catalogsTooLarge = [...(snapshot.catalogsTooLarge ?? []), ...leftOut];
    const more = catalogsTooLarge.length === 0 ? {} : { catalogsTooLarge };
    const bare = { ...snapshot, ...more, listings: [], names: [] };
    const line = (head: Snapshot): Buffer =>
      Buffer.from(lineFrom({ t: 'world', snapshot: head, catalogs: [...catalogs.keys()] }));
    const whole = line(bare);
    if (whole.length > maxBytes)
      throw new HubError('store-failed', {
        message: `the snapshot is ${whole.length} bytes without lists; snapshotBytes allows ${maxBytes}`,
      });
    this.#head = { whole, withoutKeys: line({ ...bare, keys: [], keysRevision: 0 }) };
    this.#catalogs = catalogs;
    this.#snapshot = snapshot;
    return leftOut;
  }

  #fitting(snapshot: Snapshot, maxBytes: number): { kept: readonly Listing[]; leftOut: CatalogSize[] } {
    const { listings, names } = snapshot;
    const leftOut: CatalogSize[] = []; // bounded by: servers
    const bySize = listings.map((listing) => ({ listing, bytes: this.#sizeOf(listing) }));
    bySize.sort((a, b) => b.bytes - a.bytes);
    let bytes = bySize.reduce((sum, one) => sum + one.bytes, 0);
    for (const { exposed, native, server } of names)
      bytes += NAME_BYTES + exposed.length + native.length + server.length;
    const dropped = new Set<Listing>(); // bounded by: servers
    for (const { listing, bytes: size } of bySize) {
      if (bytes <= maxBytes) break;
      bytes -= size;
      dropped.add(listing);
      leftOut.push({ server: listing.server, bytes: size });
    }
    return { kept: listings.filter((listing) => !dropped.has(listing)), leftOut };
  }

  #sizeOf(listing: Listing): number {
    const known = this.#sizes.get(listing);
    if (known !== undefined) return known;
    const bytes = Buffer.byteLength(JSON.stringify(listing));
    this.#sizes.set(listing, bytes);
    return bytes;
  }
}

const NO_NAMES: readonly GivenName[] = [];

/** The array of a server is the one before when its names are. */
function namesByServer(
  names: readonly GivenName[],
  before: ReadonlyMap<string, ServerCatalog>,
): ReadonlyMap<string, readonly GivenName[]> {
  const by = new Map<string, GivenName[]>();
  for (const name of names) {
    const known = by.get(name.server);
    if (known) known.push(name);
    else by.set(name.server, [name]);
  }
  const same = ([server, now]: [string, GivenName[]]): [string, readonly GivenName[]] => {
    const was = before.get(server)?.names;
    return [server, was?.length === now.length && now.every((name, at) => was[at] === name) ? was : now];
  };
  return new Map([...by].map(same));
}

/** A listing that was read again and is the same is not sent again. */
function isSame(before: Listing | undefined, now: Listing | undefined): boolean {
  return (
    before?.digest === now?.digest &&
    before?.instructions === now?.instructions &&
    before?.hidden.length === now?.hidden.length
  );
}
