/**
 * Stops reading from connections without a request under way while requests arrive faster than they are started, and reads from them again in
 * bounded numbers for each turn of the event loop, one of each owner in turn. `pacing.ts` says when.
 * Guarantees: a held connection is read again in its turn or has closed; those released in a turn are not held again in it; closing is never delayed
 * for connections with a request under way.
 */
import type { Socket } from 'node:net';
import type { Limits } from '../config/limits.ts';
import { FairQueue } from '../kernel/fair-queue.ts';
import type { Connection } from './connection.ts';

/** Connections that are read again in one turn, at most. */
const RELEASED_A_TURN = 64;

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
  readonly #held = new FairQueue<Held>(({ owner }) => owner);
  #shared = 0;

  constructor(parts: ReadPacingParts) {
    this.#parts = parts;
  }

  /** Connections that are not read. */
  get held(): number {
    return this.#held.size;
  }

  /** Holds the connections that have no request under way, except those released in this turn. Takes about 1 µs for each. */
  hold(turn: number): void {
    const { connections, limits, ownerOf } = this.#parts;
    for (const [socket, connection] of connections) {
      if (connection.open !== undefined || connection.isHeld || connection.releasedIn === turn) continue;
      connection.isHeld = true;
      socket.pause();
      this.#shared += 1;
      const owner = ownerOf(socket) ?? `shared ${this.#shared}`;
      // Connections that have closed since leave their place in the queue only at their turn.
      const displaced = this.#held.push({ socket, connection, owner }, 2 * limits.connections);
      if (displaced) release(displaced, turn);
    }
  }

  /** Reads from the next connections again. */
  release(turn: number): void {
    for (let count = 0; count < RELEASED_A_TURN; ) {
      const next = this.#held.shift();
      if (!next) return;
      if (next.socket.destroyed) continue;
      count += 1;
      release(next, turn);
    }
  }
}

function release({ socket, connection }: Held, turn: number): void {
  connection.isHeld = false;
  connection.releasedIn = turn;
  socket.resume();
}
