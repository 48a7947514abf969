/**
 * What one worker is to be sent of the newest snapshot: at once everything but lists, then the lists and names that it does not have, a piece in each
 * turn of the event loop and as fast as it reads.
 * Guarantees: of a server the newest counts, and one is on its way at a time; what waits is bounded; a worker that does not read for `STILL_MS` is
 * given up.
 */
import type { Socket } from 'node:net';
import type { Kernel } from '../kernel/kernel.ts';
import { takeTurn } from '../kernel/take-turn.ts';
import type { ServerCatalog, SnapshotParts } from './_snapshot-parts.ts';
import { listingEnd, nameLines, rowLines } from './listing-lines.ts';
import { lineFrom } from './relay-messages.ts';

/** Unread bytes above which lists wait. */
const BEHIND_BYTES = 256 * 1024;
const STILL_MS = 5000;

interface HubOutboxParts {
  readonly kernel: Kernel;
  readonly socket: Socket;
  readonly snapshot: SnapshotParts;
  /** The worker does not read. */
  readonly giveUp: () => void;
}

export class HubOutbox {
  readonly #parts: HubOutboxParts;
  readonly #has = new Map<string, ServerCatalog>(); // bounded by: servers
  /** Listings that the worker has told of, or had when it came. */
  readonly #told = new Map<string, { readonly digest: string; readonly atMs: number }>(); // bounded by: servers
  #head: Buffer | undefined;
  #keysRevision = -1;
  #isAtWork = false;

  constructor(parts: HubOutboxParts) {
    this.#parts = parts;
  }

  /** The worker has this listing. `atMs` = wall clock ms of its reading. */
  told(server: string, listing: { readonly digest: string; readonly atMs: number }): void {
    this.#told.set(server, { digest: listing.digest, atMs: listing.atMs });
  }

  /** The worker asks for the lists of a server. */
  wanted(server: string): void {
    this.#told.delete(server);
    this.#has.delete(server);
    this.update();
  }

  /** There is something new. */
  update(): void {
    const { kernel, socket, snapshot } = this.#parts;
    if (socket.writableLength <= BEHIND_BYTES) this.#sendHead();
    for (const server of [...this.#has.keys(), ...this.#told.keys()])
      if (!snapshot.catalogs.has(server)) this.#has.delete(server);
    if (this.#isAtWork || !this.#hasWork()) return;
    this.#isAtWork = true;
    kernel.scope.run('send lists', () => this.#work());
  }

  #hasWork(): boolean {
    return this.#newHead() !== undefined || this.#next() !== undefined;
  }

  /** Undefined = the worker has it. */
  #newHead(): Buffer | undefined {
    const { snapshot } = this.#parts;
    const head = snapshot.head(snapshot.keysRevision !== this.#keysRevision);
    return this.#head === snapshot.head(true) ? undefined : head;
  }

  #sendHead(): void {
    const head = this.#newHead();
    if (!head) return;
    this.#head = this.#parts.snapshot.head(true);
    this.#keysRevision = this.#parts.snapshot.keysRevision;
    this.#parts.socket.write(head);
  }

  #next(): ServerCatalog | undefined {
    for (const catalog of this.#parts.snapshot.catalogs.values())
      if (this.#has.get(catalog.server) !== catalog) return catalog;
    return undefined;
  }

  async #work(): Promise<void> {
    try {
      while (await this.#hasRoom()) {
        this.#sendHead();
        const catalog = this.#next();
        if (!catalog) return;
        await this.#send(catalog);
      }
    } finally {
      this.#isAtWork = false;
    }
  }

  async #send(catalog: ServerCatalog): Promise<void> {
    const { kernel, socket } = this.#parts;
    const { server, version, listing, names } = catalog;
    const told = this.#told.get(server);
    const isKnown = listing !== undefined && (told?.digest === listing.digest || (told?.atMs ?? 0) > listing.atMs);
    for (const lines of [listing && !isKnown ? rowLines(listing, version) : [], nameLines(names, { server, version })])
      for (const line of lines) {
        if (!(await this.#hasRoom())) return;
        socket.write(line);
        await takeTurn(kernel, server);
      }
    if (socket.destroyed) return;
    const end = listing && listingEnd(listing);
    socket.write(lineFrom({ t: 'catalog', server, version, names: names.length, end, isKnown }));
    this.#has.set(server, catalog);
    if (listing && !isKnown) this.told(server, listing);
  }

  /** Waits until the worker has read what it was sent, but for some. False = the connection is over. */
  async #hasRoom(): Promise<boolean> {
    const { kernel, socket, giveUp } = this.#parts;
    while (!socket.destroyed && socket.writableLength > BEHIND_BYTES) {
      const before = socket.bytesWritten - socket.writableLength;
      using deadline = kernel.deadline(STILL_MS);
      const drained = new Promise<void>((resolve) => {
        const done = (): void => {
          socket.off('drain', done).off('close', done);
          resolve();
        };
        socket.on('drain', done).on('close', done);
        deadline.onEnd(done);
      });
      await kernel.waits.for(drained, { label: 'background', owner: 'a worker', deadline }).catch(() => undefined);
      const isStill = socket.bytesWritten - socket.writableLength === before;
      if (!socket.destroyed && socket.writableLength > BEHIND_BYTES && isStill) giveUp();
    }
    return !socket.destroyed;
  }
}
