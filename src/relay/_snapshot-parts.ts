/**
 * Splits a snapshot for sending: a head line without lists and names, and the catalog of each server.
 * Guarantees: an unchanged part is the same object as before; when the lists exceed the limit, the largest are left
 * out, so that servers, groups and keys are always sent.
 */

import type { CatalogSize } from '../model/catalog-size.ts';
import { HubError } from '../model/errors.ts';
import type { GivenName, Listing, Snapshot } from '../model/snapshot.ts';
import { encodeMessage } from './relay-messages.ts';

/** Lists and names of one server, as workers know them. */
export interface ServerCatalog {
  readonly server: string;
  /** Differs for each content. */
  readonly version: string;
  readonly listing: Listing | undefined;
  readonly names: readonly GivenName[];
}

/** Bytes of the JSON of a name apart from its texts. */
const NAME_BYTES = 70;

export class SnapshotParts {
  readonly #maxBytes: () => number;
  /** JSON bytes of each listing; listings are immutable. */
  readonly #sizes = new WeakMap<Listing, number>(); // bounded by: the listings in memory
  #snapshot: Snapshot | undefined;
  /** The head line, with and without keys. */
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

  /** Returns the head line; undefined = no snapshot yet. */
  head(withKeys: boolean): Buffer | undefined {
    return withKeys ? this.#head?.whole : this.#head?.withoutKeys;
  }

  /** Records the JSON bytes of a listing, as counted from the lines in which it arrived. */
  recordSize(listing: Listing, bytes: number): void {
    this.#sizes.set(listing, bytes);
  }

  /**
   * Returns the catalogs that are left out. Throws `store-failed`, and keeps the previous snapshot, when the head alone
   * is too large.
   */
  update(snapshot: Snapshot): readonly CatalogSize[] {
    const maxBytes = this.#maxBytes();
    const names = namesByServer(snapshot.names, this.#catalogs);
    const { kept, leftOut } = this.#selectFitting(snapshot, maxBytes);
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
      Buffer.from(encodeMessage({ t: 'world', snapshot: head, catalogs: [...catalogs.keys()] }));
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

  #selectFitting(snapshot: Snapshot, maxBytes: number): { kept: readonly Listing[]; leftOut: CatalogSize[] } {
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

/** Returns the names of each server; the previous array when its names are unchanged. */
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

/** Returns whether workers see no difference; a listing read again without changes is not sent again. */
function isSame(before: Listing | undefined, now: Listing | undefined): boolean {
  return (
    before?.digest === now?.digest &&
    before?.instructions === now?.instructions &&
    before?.hidden.length === now?.hidden.length
  );
}
