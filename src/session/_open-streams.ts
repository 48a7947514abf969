/**
 * The open GET streams of the sessions: how a message that nobody asked for reaches its client.
 * Guarantees: a message goes to the newest stream of its session, once; the others stay open, for two that close each other come back for
 * ever; a full registry closes the newcomer and nobody else; a stream whose client is away for a
 * moment is parked and hears everything, but takes no newcomer's place; a broadcast to thousands is spread over several turns of the loop.
 * Does not: know HTTP or SSE (`downstream/` brings the streams), or which sessions exist.
 */
import { CappedMap } from '../kernel/capped.ts';
import type { Kernel } from '../kernel/kernel.ts';
import { FairMap } from '../kernel/shares.ts';

/** What the registry needs of a session. */
export interface StreamOwner {
  /** Random part of its id. */
  readonly random: string;
  /** Whose share it is counted for (`kernel/principal.ts`). */
  readonly owner: string;
}

export interface SessionStream {
  /** False = it is gone. */
  send(message: Buffer): boolean;
  close(reason: string): void;
}

interface Open<S> {
  readonly owner: S;
  /** The newest last, at least one. */
  readonly streams: SessionStream[]; // bounded by: STREAMS_PER_SESSION
}

/** A client may hold several streams of a session (2025-06-18); of more than this the oldest is closed. */
export const STREAMS_PER_SESSION = 4;

/** Written to in one turn: a write costs up to 20 µs. */
const BROADCAST_SLICE = 250;
const NEXT_SLICE_MS = 5;

export class OpenStreams<S extends StreamOwner> {
  readonly #kernel: Kernel;
  readonly #open: CappedMap<string, Open<S>>;
  readonly #parked: FairMap<string, Open<S>>;
  #stopped = false;

  constructor(kernel: Kernel, max: number, retainedShare: number) {
    this.#kernel = kernel;
    this.#open = new CappedMap<string, Open<S>>('session.streams', max, 'refuse', kernel.ceilings);
    const bounds = { max, share: retainedShare };
    this.#parked = new FairMap<string, Open<S>>(
      'session.parked',
      bounds,
      'evict-greediest',
      kernel.ceilings,
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
    const away = this.#parked.get(owner.random);
    this.#parked.delete(owner.random);
    const open = this.#open.get(owner.random);
    const streams = open ? open.streams.filter((one) => one !== stream) : [];
    const oldest = streams.length >= STREAMS_PER_SESSION ? streams.shift() : undefined;
    streams.push(stream);
    if (!this.#open.set(owner.random, { owner, streams })) stream.close('too-many-streams');
    // Away first: closing may call back into `detach`.
    oldest?.close('replaced');
    if (away) for (const one of away.streams) if (one !== stream) one.close('replaced');
  }

  /** Its client is gone and may come back; until `detach` it hears what is sent unless another stream of its session does. False = it is none of the session's (any more). */
  park(owner: S, stream: SessionStream): boolean {
    if (!this.#remove(owner.random, stream)) return false;
    if (!this.#open.has(owner.random)) this.#parked.set(owner.owner, owner.random, { owner, streams: [stream] });
    return true;
  }

  /** False = it is none of the session's streams (any more). */
  detach(owner: S, stream: SessionStream): boolean {
    if (this.#remove(owner.random, stream)) return true;
    return (this.#parked.get(owner.random)?.streams.includes(stream) ?? false) && this.#parked.delete(owner.random);
  }

  close(random: string, reason: string): void {
    const one = this.#at(random);
    // Away first: closing may call back into `detach`.
    this.#open.delete(random);
    this.#parked.delete(random);
    if (one) closeAll(one, reason);
  }

  send(random: string, message: Buffer): boolean {
    const streams = this.#at(random)?.streams ?? [];
    for (let at = streams.length - 1; at >= 0; at -= 1) if (streams[at]?.send(message)) return true;
    return false;
  }

  /** Open or parked. */
  hears(random: string): boolean {
    return this.#at(random) !== undefined;
  }

  /** Takes a stream out of the open ones. */
  #remove(random: string, stream: SessionStream): boolean {
    const streams = this.#open.get(random)?.streams ?? [];
    const at = streams.indexOf(stream);
    if (at < 0) return false;
    streams.splice(at, 1);
    if (streams.length === 0) this.#open.delete(random);
    return true;
  }

  #at(random: string): Open<S> | undefined {
    return this.#open.get(random) ?? this.#parked.get(random);
  }

  broadcast(fits: (owner: S) => boolean, message: Buffer): number {
    const targets: string[] = []; // bounded by: the registry
    for (const { owner } of this.#open.values()) if (fits(owner)) targets.push(owner.random);
    for (const { owner } of this.#parked.values()) if (fits(owner)) targets.push(owner.random);
    this.#sendSome(targets, 0, message);
    return targets.length;
  }

  sendToAll(randoms: readonly string[], message: Buffer): void {
    this.#sendSome(randoms, 0, message);
  }

  /** Each is looked up when its turn comes: it may have gone, or a newer one may have come. */
  #sendSome(targets: readonly string[], from: number, message: Buffer): void {
    const to = Math.min(from + BROADCAST_SLICE, targets.length);
    for (const random of targets.slice(from, to)) this.send(random, message);
    if (to === targets.length) return;
    this.#kernel.timers.after(NEXT_SLICE_MS, () => {
      if (!this.#stopped) this.#sendSome(targets, to, message);
    });
  }

  stop(): void {
    this.#stopped = true;
  }
}

function closeAll({ streams }: Open<StreamOwner>, reason: string): void {
  for (const stream of [...streams]) stream.close(reason);
}
