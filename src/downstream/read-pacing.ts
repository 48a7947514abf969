/**
 * Stops reading from connections while requests arrive faster than they are started, or many connections end at once;
 * resumes a limited number in each turn, owners in turn. `pacing.ts` decides when.
 * Guarantees: a held connection is read again in its turn, unless it has closed; three of four resumed ones belong to
 * keys and trusted proxies while such wait; a resumed one is not held again before `FREE_MS`.
 */
import type { Socket } from 'node:net';
import type { Limits } from '../config/limits.ts';
import { isAddressShare } from '../model/principal.ts';
import { FairQueue } from '../runtime/fair-queue.ts';
import type { Connection } from './connection.ts';

/** Connections that are resumed in one turn: few while most have sent something, many while most are silent. */
const FEWEST = 64;
const MOST = 1024;
const FREE_MS = 100;

export interface ReadPacingParts {
  readonly limits: Pick<Limits, 'connections'>;
  readonly connections: ReadonlyMap<Socket, Connection>;
  /** Returns the owner of a connection; undefined when many clients share it, so that it takes turns by itself. */
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
  /** Those that were resumed last. */
  #last: Held[] = []; // bounded by: MOST
  #batch = FEWEST;
  #shared = 0;

  constructor(parts: ReadPacingParts) {
    this.#parts = parts;
  }

  /** Number of connections that are not read. */
  get held(): number {
    return this.#identified.size + this.#unidentified.size;
  }

  /** Holds the connections without a pending request; `alsoBusy`: the others too. Takes about 1 µs for each. */
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
      // Connections that have closed keep their position in the queue until their turn.
      const displaced = queue.push({ socket, connection, owner }, 2 * limits.connections);
      if (displaced) readAgain(displaced, nowMs);
    }
  }

  /** Resumes the next connections. */
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

  /** Resumes until so many were resumed in total. */
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
