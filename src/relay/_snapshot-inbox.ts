/**
 * The snapshot of a worker, put together from what control sends: a head, and lists and names of one server after the other.
 * Guarantees: lists of a server change when all of theirs has come; what has not come (yet) stays as it was; a worker that knew nothing gets its first
 * snapshot when it is whole.
 */
import { type Listing, type Snapshot, wholeListing, wholeSnapshot } from '../kernel/snapshot.ts';
import { RowsInbox } from './listing-lines.ts';
import type { CatalogWord, ControlWord } from './relay-messages.ts';

interface WorldInboxParts {
  readonly maxBytes: number;
  /** What the worker has; absent = the last one put together here. */
  readonly current: (() => Snapshot) | undefined;
  /** The worker's newest listing of a server. */
  readonly listing: (server: string) => Listing | undefined;
  /** Control has this listing. */
  readonly known: (server: string, digest: string) => void;
  /** Control is to be asked for the lists of a server. */
  readonly wants: (server: string) => void;
  readonly taken: (snapshot: Snapshot) => void;
}

export class WorldInbox {
  readonly #parts: WorldInboxParts;
  readonly #rows: RowsInbox;
  #world: Snapshot | undefined;
  /** Servers that must come before the first snapshot is whole; undefined = it is. */
  #missing: Set<string> | undefined; // bounded by: servers

  constructor(parts: WorldInboxParts) {
    this.#parts = parts;
    this.#rows = new RowsInbox(parts.maxBytes);
  }

  /** Of the snapshot that the worker has. */
  get revision(): number {
    return this.#base()?.revision ?? 0;
  }

  /** Digests of the listings that the worker has. */
  lists(): Record<string, string> {
    const lists = (this.#base()?.listings ?? []).map(({ server, digest }) => [server, digest] as const);
    return Object.fromEntries(lists);
  }

  /** What had not come whole on the connection before does not go on. */
  connected(): void {
    this.#rows.clear();
  }

  hear(word: ControlWord, bytes: number): void {
    if (word.t === 'rows') this.#rows.add(word, bytes);
    else if (word.t === 'world') this.#head(word.snapshot, word.catalogs);
    else if (word.t === 'catalog') this.#catalog(word);
    else if (word.t === 'snapshot' && word.snapshot.format === 1) {
      this.#missing = undefined;
      this.#take(wholeSnapshot(word.snapshot));
    }
  }

  #base(): Snapshot | undefined {
    const current = this.#parts.current?.();
    return current && current.revision > 0 && current.revision >= (this.#world?.revision ?? 0) ? current : this.#world;
  }

  #head(head: Snapshot, catalogs: readonly string[]): void {
    if (head.format !== 1) return;
    const base = this.#missing ? this.#world : this.#base();
    const isFirst = base === undefined || this.#missing !== undefined;
    const configured = new Set(head.servers.map(({ slug }) => slug)); // bounded by: servers
    const listings = onlyOf(base?.listings ?? [], configured);
    const names = onlyOf(base?.names ?? [], configured);
    if (isFirst) {
      const came = new Set([...(base?.listings ?? []), ...(base?.names ?? [])].map(({ server }) => server)); // bounded by: servers
      this.#missing = new Set(catalogs.filter((server) => !came.has(server)));
    }
    // Keys stay when the head has none.
    const { keys, keysRevision } = head.keysRevision === 0 && base ? base : head;
    this.#take({ ...wholeSnapshot(head), keys, keysRevision, listings, names });
  }

  #catalog(word: CatalogWord): void {
    const { server, version, end, isKnown = false } = word;
    const names = this.#rows.take({ server, version }, 'names', word.names) as Snapshot['names'] | undefined;
    const listing = isKnown ? this.#parts.listing(server) : end && this.#rows.listing(version, end);
    this.#rows.clear();
    if (!names || (end && !listing)) return this.#parts.wants(server);
    const world = this.#missing ? this.#world : this.#base();
    if (!world) return;
    this.#missing?.delete(server);
    if (end) this.#parts.known(server, end.listing.digest);
    const others = world.listings.filter((one) => one.server !== server);
    this.#take({
      ...world,
      listings: listing ? [...others, wholeListing(listing)] : world.listings,
      names: [...world.names.filter((name) => name.server !== server), ...names],
    });
  }

  #take(world: Snapshot): void {
    this.#world = world;
    if (this.#missing && this.#missing.size > 0) return;
    this.#missing = undefined;
    this.#parts.taken(world);
  }
}

/** The same array when all are. */
function onlyOf<T extends { readonly server: string }>(rows: readonly T[], servers: ReadonlySet<string>): readonly T[] {
  return rows.every(({ server }) => servers.has(server)) ? rows : rows.filter(({ server }) => servers.has(server));
}
