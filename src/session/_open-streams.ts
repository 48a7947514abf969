/**
 * Holds the open GET streams of sessions, which carry messages outside of requests. `downstream/` implements the
 * streams.
 * Guarantees: a message is sent once, to the newest stream of its session, and the others stay open; when the registry
 * is full, only the new stream is closed; a retained stream (its client may reconnect) receives messages and takes no
 * place of a new one; a broadcast to thousands is spread over several turns of the event loop.
 */
import { CappedMap } from '../runtime/capped.ts';
import type { Runtime } from '../runtime/runtime.ts';
import { type Bounds, FairMap } from '../runtime/shares.ts';

/** Part of a session that the registry needs. */
export interface StreamOwner {
  /** Random part of the session id. */
  readonly random: string;
  /** Whose share it is charged to (`model/principal.ts`). */
  readonly owner: string;
}

export interface SessionStream {
  /** Returns false when the stream is closed. */
  send(message: Buffer): boolean;
  close(reason: string): void;
}

interface SessionStreams<S> {
  readonly owner: S;
  /** Newest last, at least one. */
  readonly streams: SessionStream[]; // bounded by: STREAMS_PER_SESSION
}

/**
 * A session may have several streams; beyond this number the oldest is closed.
 * Source: https://modelcontextprotocol.io/specification/2025-06-18/basic/transports#multiple-connections
 */
export const STREAMS_PER_SESSION = 4;

/** Streams written to in one turn; a write costs up to 20 µs. */
const BROADCAST_SLICE = 250;
const NEXT_SLICE_MS = 5;

export class OpenStreams<S extends StreamOwner> {
  readonly #runtime: Runtime;
  readonly #open: CappedMap<string, SessionStreams<S>>;
  readonly #retained: FairMap<string, SessionStreams<S>>;
  #stopped = false;

  constructor(runtime: Runtime, bounds: Bounds) {
    this.#runtime = runtime;
    this.#open = new CappedMap<string, SessionStreams<S>>('session.streams', bounds.max, 'refuse', runtime.ceilings);
    this.#retained = new FairMap<string, SessionStreams<S>>(
      'session.parked',
      bounds,
      'evict-greediest',
      runtime.ceilings,
      (_, open) => closeAll(open, 'too-many-streams'),
    );
  }

  get size(): number {
    return this.#open.size;
  }

  has(random: string): boolean {
    return this.#open.has(random);
  }

  attach(owner: S, stream: SessionStream): void {
    const retained = this.#retained.get(owner.random);
    this.#retained.delete(owner.random);
    const open = this.#open.get(owner.random);
    const streams = open ? open.streams.filter((one) => one !== stream) : [];
    const oldest = streams.length >= STREAMS_PER_SESSION ? streams.shift() : undefined;
    streams.push(stream);
    if (!this.#open.set(owner.random, { owner, streams })) stream.close('too-many-streams');
    // Remove before closing: closing may call back into `detach`.
    oldest?.close('replaced');
    if (retained) for (const one of retained.streams) if (one !== stream) one.close('replaced');
  }

  /**
   * Keeps a stream whose client may return: until `detach` it receives messages, unless another stream of its session
   * is open. Returns false when it is not a stream of the session.
   */
  retain(owner: S, stream: SessionStream): boolean {
    if (!this.#remove(owner.random, stream)) return false;
    if (!this.#open.has(owner.random)) this.#retained.set(owner.owner, owner.random, { owner, streams: [stream] });
    return true;
  }

  /** Returns false when it is not a stream of the session. */
  detach(owner: S, stream: SessionStream): boolean {
    if (this.#remove(owner.random, stream)) return true;
    return (this.#retained.get(owner.random)?.streams.includes(stream) ?? false) && this.#retained.delete(owner.random);
  }

  close(random: string, reason: string): void {
    const one = this.#find(random);
    // Remove before closing: closing may call back into `detach`.
    this.#open.delete(random);
    this.#retained.delete(random);
    if (one) closeAll(one, reason);
  }

  send(random: string, message: Buffer): boolean {
    const streams = this.#find(random)?.streams ?? [];
    for (let at = streams.length - 1; at >= 0; at -= 1) if (streams[at]?.send(message)) return true;
    return false;
  }

  /** Returns whether the session has an open or retained stream. */
  hasStream(random: string): boolean {
    return this.#find(random) !== undefined;
  }

  /** Removes a stream from the open ones. */
  #remove(random: string, stream: SessionStream): boolean {
    const streams = this.#open.get(random)?.streams ?? [];
    const at = streams.indexOf(stream);
    if (at < 0) return false;
    streams.splice(at, 1);
    if (streams.length === 0) this.#open.delete(random);
    return true;
  }

  #find(random: string): SessionStreams<S> | undefined {
    return this.#open.get(random) ?? this.#retained.get(random);
  }

  broadcast(matches: (owner: S) => boolean, message: Buffer): number {
    const targets: string[] = []; // bounded by: the registry
    for (const { owner } of this.#open.values()) if (matches(owner)) targets.push(owner.random);
    for (const { owner } of this.#retained.values()) if (matches(owner)) targets.push(owner.random);
    this.#sendSlice(targets, 0, message);
    return targets.length;
  }

  sendToAll(randoms: readonly string[], message: Buffer): void {
    this.#sendSlice(randoms, 0, message);
  }

  /** Looks up each session when its turn comes: its stream may have been closed or replaced. */
  #sendSlice(targets: readonly string[], from: number, message: Buffer): void {
    const to = Math.min(from + BROADCAST_SLICE, targets.length);
    for (const random of targets.slice(from, to)) this.send(random, message);
    if (to === targets.length) return;
    this.#runtime.timers.after(NEXT_SLICE_MS, () => {
      if (!this.#stopped) this.#sendSlice(targets, to, message);
    });
  }

  stop(): void {
    this.#stopped = true;
  }
}

function closeAll({ streams }: SessionStreams<StreamOwner>, reason: string): void {
  for (const stream of [...streams]) stream.close(reason);
}
