/**
 * Stops reading from connections while requests arrive faster than they are started, or many connections end at once, and reads from them again in
 * bounded numbers for each turn of the event loop, one of each owner in turn. `pacing.ts` says when.
 * Guarantees: a held connection is read again in its turn or has closed; three of four that are read again are those of keys and trusted proxies, while
 * such wait; one that has been read again is not held before `FREE_MS` have passed, so that a flood does not hold the same ones all the time.
 */
import type { Socket } from 'node:net';
import type { Limits } from '../config/limits.ts';
import { isAddressShare } from '../model/principal.ts';
import { FairQueue } from '../runtime/fair-queue.ts';
import type { Connection } from './connection.ts';

/** Connections that are read again in one turn: few while most of them have sent something, many while most are silent. */
const FEWEST = 64;
const MOST = 1024;
const FREE_MS = 100;

export interface ReadPacingParts {
  readonly limits: Pick<Limits, 'connections'>;
  readonly connections: ReadonlyMap<Socket, Connection>;
  /** Who a connection is counted for; undefined = many clients share it, and it takes turns by itself. */
  readonly ownerOf: (socket: Socket) => string | undefined;
}

interface Held {
  readonly socket: Socket;
  readonly connection: Connection;
  readonly owner: string;
}

export class ReadPacing {
  readonly #parts: ReadPacingParts;
  readonly #identified = new FairQueue<Held>(({ owner }) => owner);
  readonly #unidentified = new FairQueue<Held>(({ owner }) => owner);
  /** Those that were read again last. */
  #last: Held[] = []; // bounded by: MOST
  #batch = FEWEST;
  #shared = 0;

  constructor(parts: ReadPacingParts) {
    this.#parts = parts;
  }

  /** Connections that are not read. */
  get held(): number {
    return this.#identified.size + this.#unidentified.size;
  }

  /** Holds the connections that have no request under way; `alsoBusy` = the others too. Takes about 1 µs for each. */
  hold(nowMs: number, alsoBusy: boolean): void {
    const { connections, limits, ownerOf } = this.#parts;
    for (const [socket, connection] of connections) {
      if (connection.isHeld || nowMs - connection.readAtMs < FREE_MS) continue;
      if (!alsoBusy && connection.open !== undefined) continue;
      connection.isHeld = true;
      socket.pause();
      this.#shared += 1;
      const owner = ownerOf(socket) ?? `shared ${this.#shared}`;
      const queue = isAddressShare(owner) ? this.#unidentified : this.#identified;
      // Connections that have closed since leave their place in the queue only at their turn.
      const displaced = queue.push({ socket, connection, owner }, 2 * limits.connections);
      if (displaced) readAgain(displaced, nowMs);
    }
  }

  /** Reads from the next connections again. */
  release(nowMs: number): void {
    if (this.held === 0 && this.#last.length === 0) return;
    const sent = this.#last.filter(
      ({ socket, connection }) => socket.destroyed || connection.open !== undefined,
    ).length;
    this.#batch = 2 * sent > this.#last.length ? FEWEST : Math.min(MOST, 2 * this.#batch);
    if (this.#last.length === 0) this.#batch = FEWEST;
    this.#last = [];
    this.#releaseFrom(this.#identified, (this.#batch * 3) / 4, nowMs);
    this.#releaseFrom(this.#unidentified, this.#batch, nowMs);
    this.#releaseFrom(this.#identified, this.#batch, nowMs);
  }

  /** Until so many have been released in all. */
  #releaseFrom(queue: FairQueue<Held>, most: number, nowMs: number): void {
    while (this.#last.length < most) {
      const next = queue.shift();
      if (!next) return;
      if (next.socket.destroyed) continue;
      readAgain(next, nowMs);
      this.#last.push(next);
    }
  }
}

function readAgain({ socket, connection }: Held, nowMs: number): void {
  connection.isHeld = false;
  connection.readAtMs = nowMs;
  socket.resume();
}
