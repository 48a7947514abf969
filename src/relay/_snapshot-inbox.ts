/**
 * Assembles the snapshot of a worker from the messages of control: a head, then lists and names server by server.
 * Guarantees: the lists of a server change only when all of them have arrived; until then the previous ones stay; the
 * first snapshot is delivered only when it is complete.
 */
import { type Listing, type Snapshot, wholeListing, wholeSnapshot } from '../model/snapshot.ts';
import { RowsInbox } from './listing-lines.ts';
import type { CatalogMessage, ControlMessage } from './relay-messages.ts';

interface SnapshotInboxParts {
  readonly maxBytes: () => number;
  /** Returns the worker's snapshot; absent = the last one assembled here. */
  readonly current: (() => Snapshot) | undefined;
  /** Returns the worker's newest listing of a server. */
  readonly listing: (server: string) => Listing | undefined;
  /** Called when control is known to have this listing. */
  readonly onKnown: (server: string, digest: string) => void;
  /** Asks control to send the lists of a server again. */
  readonly requestLists: (server: string) => void;
  readonly onSnapshot: (snapshot: Snapshot) => void;
}

export class SnapshotInbox {
  readonly #parts: SnapshotInboxParts;
  readonly #rows: RowsInbox;
  #latest: Snapshot | undefined;
  /** Servers without which the first snapshot is incomplete; undefined = complete. */
  #missing: Set<string> | undefined; // bounded by: servers

  constructor(parts: SnapshotInboxParts) {
    this.#parts = parts;
    this.#rows = new RowsInbox(parts.maxBytes);
  }

  /** Revision of the worker's snapshot. */
  get revision(): number {
    return this.#current()?.revision ?? 0;
  }

  /** Returns the digests of the worker's listings, by server. */
  listDigests(): Record<string, string> {
    const lists = (this.#current()?.listings ?? []).map(({ server, digest }) => [server, digest] as const);
    return Object.fromEntries(lists);
  }

  /** Discards what arrived incompletely on the previous connection. */
  reset(): void {
    this.#rows.clear();
  }

  receive(message: ControlMessage, bytes: number): void {
    if (message.t === 'rows') this.#rows.add(message, bytes);
    else if (message.t === 'world') this.#receiveHead(message.snapshot, message.catalogs);
    else if (message.t === 'catalog') this.#receiveCatalog(message);
    else if (message.t === 'snapshot' && message.snapshot.format === 1) {
      this.#missing = undefined;
      this.#accept(wholeSnapshot(message.snapshot));
    }
  }

  #current(): Snapshot | undefined {
    const current = this.#parts.current?.();
    return current && current.revision > 0 && current.revision >= (this.#latest?.revision ?? 0)
      ? current
      : this.#latest;
  }

  #receiveHead(head: Snapshot, catalogs: readonly string[]): void {
    if (head.format !== 1) return;
    const base = this.#missing ? this.#latest : this.#current();
    const isFirst = base === undefined || this.#missing !== undefined;
    const configured = new Set(head.servers.map(({ slug }) => slug)); // bounded by: servers
    const listings = keepConfigured(base?.listings ?? [], configured);
    const names = keepConfigured(base?.names ?? [], configured);
    if (isFirst) {
      // bounded by: servers
      const came = new Set([...(base?.listings ?? []), ...(base?.names ?? [])].map(({ server }) => server));
      this.#missing = new Set(catalogs.filter((server) => !came.has(server)));
    }
    // A head without keys keeps the current ones.
    const { keys, keysRevision } = head.keysRevision === 0 && base ? base : head;
    this.#accept({ ...wholeSnapshot(head), keys, keysRevision, listings, names });
  }

  #receiveCatalog(message: CatalogMessage): void {
    const { server, version, end, isKnown = false } = message;
    const names = this.#rows.take({ server, version }, 'names', message.names) as Snapshot['names'] | undefined;
    const listing = isKnown ? this.#parts.listing(server) : end && this.#rows.listing(version, end);
    this.#rows.clear();
    if (!names || (end && !listing)) return this.#parts.requestLists(server);
    const snapshot = this.#missing ? this.#latest : this.#current();
    if (!snapshot) return;
    this.#missing?.delete(server);
    if (end) this.#parts.onKnown(server, end.listing.digest);
    const others = snapshot.listings.filter((one) => one.server !== server);
    this.#accept({
      ...snapshot,
      listings: listing ? [...others, wholeListing(listing)] : snapshot.listings,
      names: [...snapshot.names.filter((name) => name.server !== server), ...names],
    });
  }

  #accept(snapshot: Snapshot): void {
    this.#latest = snapshot;
    if (this.#missing && this.#missing.size > 0) return;
    this.#missing = undefined;
    this.#parts.onSnapshot(snapshot);
  }
}

/** Returns the rows of configured servers; the same array when none is removed. */
function keepConfigured<T extends { readonly server: string }>(
  rows: readonly T[],
  servers: ReadonlySet<string>,
): readonly T[] {
  return rows.every(({ server }) => servers.has(server)) ? rows : rows.filter(({ server }) => servers.has(server));
}
