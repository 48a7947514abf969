/**
 * Sends listings to control: the newest of each server, again after each reconnect, until control confirms it.
 * Guarantees: a long listing is encoded over several turns of the event loop and written in lines of limited size; one
 * above `snapshotBytes`, which control would ignore, is reported instead.
 */
import type { Socket } from 'node:net';
import type { Limits } from '../config/limits.ts';
import type { Listing } from '../model/snapshot.ts';
import { CappedMap } from '../runtime/capped.ts';
import type { Runtime } from '../runtime/runtime.ts';
import { takeTurn } from '../runtime/take-turn.ts';
import { rowLines, withoutRows } from './listing-lines.ts';
import { encodeMessage } from './relay-messages.ts';

interface ListingSenderParts {
  readonly runtime: Runtime;
  readonly limits: Limits;
  /** Returns the connection to control; undefined = not connected, or control reads too slowly. */
  readonly ready: () => Socket | undefined;
  /** Called after all listings are sent. */
  readonly onSent: () => void;
}

export class ListingSender {
  readonly #parts: ListingSenderParts;
  readonly #listings: CappedMap<string, Listing>;
  readonly #unsent = new Set<string>(); // bounded by: limits.servers, as #listings
  #isSending = false;

  constructor(parts: ListingSenderParts) {
    this.#parts = parts;
    const { limits, runtime } = parts;
    this.#listings = new CappedMap<string, Listing>(
      'relay.listings',
      () => limits.servers,
      'drop-oldest',
      runtime.ceilings,
    );
  }

  put(listing: Listing): void {
    this.#listings.set(listing.server, listing);
    this.#unsent.add(listing.server);
  }

  /** Sends everything again, on a new connection. */
  resendAll(): void {
    for (const server of this.#listings.keys()) this.#unsent.add(server);
  }

  /** Sends what is unsent in the background, while control keeps reading. Returns true when everything is sent. */
  pump(): boolean {
    if (this.#unsent.size > 0 && !this.#isSending) {
      this.#isSending = true;
      this.#parts.runtime.scope.run('send lists', () => this.#sendUnsent());
    }
    return !this.#isSending;
  }

  /** Returns the newest unconfirmed listing of a server. */
  get(server: string): Listing | undefined {
    return this.#listings.get(server);
  }

  /** Control has the listing with this digest. */
  confirm(server: string, digest: string): void {
    if (this.#listings.get(server)?.digest === digest) this.#listings.delete(server);
  }

  /** Drops listings of servers that are no longer configured. */
  dropUnconfigured(configured: ReadonlySet<string>): void {
    for (const server of [...this.#listings.keys()]) if (!configured.has(server)) this.#listings.delete(server);
  }

  async #sendUnsent(): Promise<void> {
    try {
      for (const server of this.#unsent) {
        const socket = this.#parts.ready();
        if (!socket) return;
        this.#unsent.delete(server);
        const listing = this.#listings.get(server);
        if (listing) await this.#sendListing(listing, socket);
      }
    } finally {
      this.#isSending = false;
    }
    this.#parts.onSent();
  }

  async #sendListing(listing: Listing, socket: Socket): Promise<void> {
    const { runtime, limits } = this.#parts;
    const lines: Buffer[] = []; // bounded by: listingBytes of each kind of list
    let bytes = 0;
    for (const line of rowLines(listing, listing.digest)) {
      lines.push(line);
      bytes += line.length;
      await takeTurn(runtime, listing.server);
    }
    const end = Buffer.from(encodeMessage({ t: 'listed', version: listing.digest, ...withoutRows(listing) }));
    bytes += end.length;
    if (this.#listings.get(listing.server) !== listing) return; // a newer one is unsent, or control has confirmed it
    if (socket.destroyed) this.#unsent.add(listing.server);
    else if (bytes <= limits.snapshotBytes) {
      socket.cork();
      for (const line of [...lines, end]) socket.write(line);
      socket.uncork();
    } else {
      this.#listings.delete(listing.server);
      runtime.bus.publish({ type: 'catalog-left-out', server: listing.server, bytes });
    }
  }
}
