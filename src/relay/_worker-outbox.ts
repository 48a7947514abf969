/**
 * Sends the newest snapshot to one worker: the head at once, then the lists and names that it does not have, one line
 * in each turn of the event loop, as fast as it reads.
 * Guarantees: only the newest catalog of a server is sent, one at a time; a worker that reads nothing for `STALL_MS` is
 * disconnected.
 */
import type { Socket } from 'node:net';
import type { Runtime } from '../runtime/runtime.ts';
import { takeTurn } from '../runtime/take-turn.ts';
import type { ServerCatalog, SnapshotParts } from './_snapshot-parts.ts';
import { nameLines, rowLines, withoutRows } from './listing-lines.ts';
import { encodeMessage } from './relay-messages.ts';

/** Unread bytes above which lists wait. */
const MAX_UNREAD_BYTES = 256 * 1024;
const STALL_MS = 5000;

interface WorkerOutboxParts {
  readonly runtime: Runtime;
  readonly socket: Socket;
  readonly snapshot: SnapshotParts;
  /** Disconnects a worker that does not read. */
  readonly disconnect: () => void;
}

export class WorkerOutbox {
  readonly #parts: WorkerOutboxParts;
  readonly #sent = new Map<string, ServerCatalog>(); // bounded by: servers
  /** Listings that the worker has sent, or had when it connected. */
  readonly #known = new Map<string, { readonly digest: string; readonly atMs: number }>(); // bounded by: servers
  #head: Buffer | undefined;
  #keysRevision = -1;
  #isSending = false;

  constructor(parts: WorkerOutboxParts) {
    this.#parts = parts;
  }

  /** Records that the worker has this listing. `atMs`: wall clock ms at which it was read. */
  setKnown(server: string, listing: { readonly digest: string; readonly atMs: number }): void {
    this.#known.set(server, { digest: listing.digest, atMs: listing.atMs });
  }

  /** Sends the lists of a server again, as the worker requested. */
  resend(server: string): void {
    this.#known.delete(server);
    this.#sent.delete(server);
    this.update();
  }

  /** Starts sending what is new. */
  update(): void {
    const { runtime, socket, snapshot } = this.#parts;
    if (socket.writableLength <= MAX_UNREAD_BYTES) this.#sendHead();
    for (const server of [...this.#sent.keys(), ...this.#known.keys()])
      if (!snapshot.catalogs.has(server)) this.#sent.delete(server);
    if (this.#isSending || !this.#hasPending()) return;
    this.#isSending = true;
    runtime.scope.run('send lists', () => this.#sendPending());
  }

  #hasPending(): boolean {
    return this.#unsentHead() !== undefined || this.#nextCatalog() !== undefined;
  }

  /** Returns the head that the worker does not have yet. */
  #unsentHead(): Buffer | undefined {
    const { snapshot } = this.#parts;
    const head = snapshot.head(snapshot.keysRevision !== this.#keysRevision);
    return this.#head === snapshot.head(true) ? undefined : head;
  }

  #sendHead(): void {
    const head = this.#unsentHead();
    if (!head) return;
    this.#head = this.#parts.snapshot.head(true);
    this.#keysRevision = this.#parts.snapshot.keysRevision;
    this.#parts.socket.write(head);
  }

  #nextCatalog(): ServerCatalog | undefined {
    for (const catalog of this.#parts.snapshot.catalogs.values())
      if (this.#sent.get(catalog.server) !== catalog) return catalog;
    return undefined;
  }

  async #sendPending(): Promise<void> {
    try {
      while (await this.#waitForRoom()) {
        this.#sendHead();
        const catalog = this.#nextCatalog();
        if (!catalog) return;
        await this.#sendCatalog(catalog);
      }
    } finally {
      this.#isSending = false;
    }
  }

  async #sendCatalog(catalog: ServerCatalog): Promise<void> {
    const { runtime, socket } = this.#parts;
    const { server, version, listing, names } = catalog;
    const known = this.#known.get(server);
    const isKnown = listing !== undefined && (known?.digest === listing.digest || (known?.atMs ?? 0) > listing.atMs);
    for (const lines of [listing && !isKnown ? rowLines(listing, version) : [], nameLines(names, { server, version })])
      for (const line of lines) {
        if (!(await this.#waitForRoom())) return;
        socket.write(line);
        await takeTurn(runtime, server);
      }
    if (socket.destroyed) return;
    const end = listing && withoutRows(listing);
    socket.write(encodeMessage({ t: 'catalog', server, version, names: names.length, end, isKnown }));
    this.#sent.set(server, catalog);
    if (listing && !isKnown) this.setKnown(server, listing);
  }

  /** Waits until at most `MAX_UNREAD_BYTES` are unread. Returns false when the connection is closed. */
  async #waitForRoom(): Promise<boolean> {
    const { runtime, socket, disconnect } = this.#parts;
    while (!socket.destroyed && socket.writableLength > MAX_UNREAD_BYTES) {
      const before = socket.bytesWritten - socket.writableLength;
      using deadline = runtime.deadline(STALL_MS);
      const drained = new Promise<void>((resolve) => {
        const done = (): void => {
          socket.off('drain', done).off('close', done);
          resolve();
        };
        socket.on('drain', done).on('close', done);
        deadline.onEnd(done);
      });
      await runtime.waits.for(drained, { label: 'background', owner: 'a worker', deadline }).catch(() => undefined);
      const isStill = socket.bytesWritten - socket.writableLength === before;
      if (!socket.destroyed && socket.writableLength > MAX_UNREAD_BYTES && isStill) disconnect();
    }
    return !socket.destroyed;
  }
}
