/**
 * A TCP proxy on 127.0.0.1 that spoils what passes: what networks, sleeping laptops and load balancers do. Several
 * toxics at once, changed while it runs; chance comes from the seed, connection by connection.
 * Promises: bytes stay in order; a slow side holds the other back, so that nothing grows; `dispose` ends every
 * connection.
 */
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';

/** Absent = off. They work on both directions, but for `halfOpen`. */
export interface Toxics {
  /** Each piece waits so long, and up to `jitterMs` more. */
  latencyMs?: number;
  jitterMs?: number;
  bytesPerSecond?: number;
  /** Pieces of at most so many bytes, each written by itself. */
  sliceBytes?: number;
  /** An orderly end after so many bytes of a connection. */
  limitBytes?: number;
  /** RST to both sides after so many bytes. */
  resetAfterBytes?: number;
  /** RST after up to so many bytes; how many is the connection's chance. */
  resetWithinBytes?: number;
  /** Nothing passes after so many bytes, and the connection stays. */
  stallAfterBytes?: number;
  /** Connections are taken, and nothing passes. */
  blackhole?: boolean;
  /** The end of one side reaches the other so much later. */
  slowCloseMs?: number;
  /** The client goes away and the server does not hear of it. */
  halfOpen?: boolean;
  /** So many of a thousand pieces have one byte changed. */
  garbagePerMille?: number;
}

export interface FaultProxy extends AsyncDisposable {
  readonly port: number;
  readonly url: string;
  /** May be assigned to at any time. */
  toxics: Toxics;
  readonly open: number;
  /** RST to all that is open; how many these were. */
  reset(): number;
}

interface Pair {
  readonly near: Socket;
  readonly far: Socket;
  readonly chance: () => number;
  /** Up to when a reset by chance waits. */
  readonly luckyBytes: number;
  bytes: number;
}

const NEVER_MS = 2 ** 30;
const LOOK_MS = 20;

export async function startFaultProxy(targetPort: number, toxics: Toxics = {}, seed = 1): Promise<FaultProxy> {
  const pairs = new Set<Pair>();
  const stopped = new AbortController();
  const state = { toxics, count: 0 };

  const server = createServer({ allowHalfOpen: true }, (near) => {
    state.count += 1;
    const chance = chances(seed * 7919 + state.count);
    const far = connect({ port: targetPort, host: '127.0.0.1', allowHalfOpen: true });
    const pair: Pair = { near, far, chance, luckyBytes: chance(), bytes: 0 };
    pairs.add(pair);
    for (const socket of [near, far]) {
      socket.setNoDelay(true);
      socket.on('error', () => {});
    }
    near.on('close', () => {
      if (!state.toxics.halfOpen) far.destroy();
    });
    far.on('close', () => {
      near.destroy();
      pairs.delete(pair);
    });
    // Whoever ends is heard by the other side; what the pumps throw is the end of a socket.
    pump(pair, near, far).catch(() => state.toxics.halfOpen || far.destroy());
    pump(pair, far, near).catch(() => near.destroy());
  });

  async function pump(pair: Pair, from: Socket, to: Socket): Promise<void> {
    for await (const chunk of from as AsyncIterable<Buffer>) {
      const size = Math.max(1, state.toxics.sliceBytes ?? chunk.length);
      for (let at = 0; at < chunk.length; at += size) await pass(pair, to, chunk.subarray(at, at + size));
    }
    if (state.toxics.slowCloseMs) await pause(state.toxics.slowCloseMs);
    if (!state.toxics.halfOpen || from !== pair.near) to.end();
  }

  async function pass(pair: Pair, to: Socket, piece: Buffer): Promise<void> {
    const { latencyMs = 0, jitterMs = 0, bytesPerSecond } = state.toxics;
    const waitMs = latencyMs + jitterMs * pair.chance() + (bytesPerSecond ? (piece.length * 1000) / bytesPerSecond : 0);
    if (waitMs > 0) await pause(waitMs);
    pair.bytes += piece.length;
    const { limitBytes, resetAfterBytes, resetWithinBytes, garbagePerMille } = state.toxics;
    if (pair.bytes > Math.min(resetAfterBytes ?? Infinity, pair.luckyBytes * (resetWithinBytes ?? Infinity)))
      return resetPair(pair);
    if (pair.bytes > (limitBytes ?? Infinity)) {
      pair.near.end();
      pair.far.end();
      return;
    }
    while (state.toxics.blackhole || pair.bytes > (state.toxics.stallAfterBytes ?? Infinity)) {
      if (to.destroyed) return;
      await pause(LOOK_MS);
    }
    const bad = garbagePerMille !== undefined && pair.chance() * 1000 < garbagePerMille;
    if (!to.write(bad ? spoilt(piece, pair.chance) : piece) && !to.destroyed)
      await new Promise<void>((done) => {
        to.once('drain', done);
        to.once('close', done);
      });
  }

  function resetPair({ near, far }: Pair): void {
    near.resetAndDestroy();
    far.resetAndDestroy();
  }

  function pause(ms: number): Promise<void> {
    return delay(Math.min(ms, NEVER_MS), undefined, { signal: stopped.signal });
  }

  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const { port } = server.address() as AddressInfo;
  return {
    port,
    url: `http://127.0.0.1:${port}`,
    get toxics() {
      return state.toxics;
    },
    set toxics(value) {
      state.toxics = value;
    },
    get open() {
      return pairs.size;
    },
    reset() {
      const all = [...pairs];
      for (const pair of all) resetPair(pair);
      return all.length;
    },
    async [Symbol.asyncDispose]() {
      stopped.abort();
      const closed = new Promise<void>((done) => server.close(() => done()));
      for (const { near, far } of pairs) {
        near.destroy();
        far.destroy();
      }
      await closed;
    },
  };
}

function spoilt(piece: Buffer, chance: () => number): Buffer {
  const copy = Buffer.from(piece);
  const at = Math.floor(chance() * copy.length);
  copy[at] = (copy[at] as number) ^ 0x15;
  return copy;
}

/** 0 … 1, the same for the same seed. */
export function chances(seed: number): () => number {
  let state = (seed * 2_654_435_761) >>> 0 || 1;
  return () => {
    state ^= state << 13;
    state >>>= 0;
    state ^= state >>> 17;
    state ^= state << 5;
    state >>>= 0;
    return state / 2 ** 32;
  };
}
