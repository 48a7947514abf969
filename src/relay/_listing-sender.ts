/**
 * Lists that control is told of: the newest of each server, again after each connect, until control is known to have it.
 * Guarantees: a long list becomes text over several turns of the event loop and is written in lines of bounded size; one above `snapshotBytes`, which control
 * would ignore, is reported instead.
 */
import type { Socket } from 'node:net';
import type { Limits } from '../config/limits.ts';
import { CappedMap } from '../kernel/capped.ts';
import type { Kernel } from '../kernel/kernel.ts';
import type { Listing } from '../kernel/snapshot.ts';
import { takeTurn } from '../kernel/take-turn.ts';
import { listingEnd, rowLines } from './listing-lines.ts';
import { lineFrom } from './relay-messages.ts';

interface ListingSenderParts {
  readonly kernel: Kernel;
  readonly limits: Limits;
  /** The connection to control; undefined = there is none now, or control is behind with reading. */
  readonly ready: () => Socket | undefined;
  /** All have been told. */
  readonly told: () => void;
}

export class ListingSender {
  readonly #parts: ListingSenderParts;
  readonly #listings: CappedMap<string, Listing>;
  readonly #unsent = new Set<string>(); // bounded by: limits.servers, as #listings
  #isAtWork = false;

  constructor(parts: ListingSenderParts) {
    this.#parts = parts;
    const { limits, kernel } = parts;
    this.#listings = new CappedMap<string, Listing>('relay.listings', limits.servers, 'drop-oldest', kernel.ceilings);
  }

  put(listing: Listing): void {
    this.#listings.set(listing.server, listing);
    this.#unsent.add(listing.server);
  }

  /** There is a new connection, on which nothing has been told. */
  again(): void {
    for (const server of this.#listings.keys()) this.#unsent.add(server);
  }

  /** Tells what has not been told, in the background, until control is behind with reading. True = everything has been told. */
  pump(): boolean {
    if (this.#unsent.size > 0 && !this.#isAtWork) {
      this.#isAtWork = true;
      this.#parts.kernel.scope.run('send lists', () => this.#work());
    }
    return !this.#isAtWork;
  }

  /** The newest of a server that control is not known to have. */
  get(server: string): Listing | undefined {
    return this.#listings.get(server);
  }

  /** Control has the listing of this digest. */
  known(server: string, digest: string): void {
    if (this.#listings.get(server)?.digest === digest) this.#listings.delete(server);
  }

  /** A listing of a server that is gone is nobody's. */
  forgetGone(configured: ReadonlySet<string>): void {
    for (const server of [...this.#listings.keys()]) if (!configured.has(server)) this.#listings.delete(server);
  }

  async #work(): Promise<void> {
    try {
      for (const server of this.#unsent) {
        const socket = this.#parts.ready();
        if (!socket) return;
        this.#unsent.delete(server);
        const listing = this.#listings.get(server);
        if (listing) await this.#send(listing, socket);
      }
    } finally {
      this.#isAtWork = false;
    }
    this.#parts.told();
  }

  async #send(listing: Listing, socket: Socket): Promise<void> {
    const { kernel, limits } = this.#parts;
    const lines: Buffer[] = []; // bounded by: listingBytes of each kind of list
    let bytes = 0;
    for (const line of rowLines(listing, listing.digest)) {
      lines.push(line);
      bytes += line.length;
      await takeTurn(kernel, listing.server);
    }
    const end = Buffer.from(lineFrom({ t: 'listed', version: listing.digest, ...listingEnd(listing) }));
    bytes += end.length;
    if (this.#listings.get(listing.server) !== listing) return; // a newer one is unsent, or control has it
    if (socket.destroyed) this.#unsent.add(listing.server);
    else if (bytes <= limits.snapshotBytes) {
      socket.cork();
      for (const line of [...lines, end]) socket.write(line);
      socket.uncork();
    } else {
      this.#listings.delete(listing.server);
      kernel.bus.publish({ type: 'catalog-left-out', server: listing.server, bytes });
    }
  }
}
