/**
 * The open GET streams, one a session: how a message that nobody asked for reaches its client.
 * Promises: the newest stream of a session wins; a full registry closes the newcomer and nobody else; a stream whose client is away for a
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
  readonly stream: SessionStream;
}

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
      (_, { stream }) => stream.close('too-many-streams'),
    );
  }

  get size(): number {
    return this.#open.size;
  }

  has(random: string): boolean {
    return this.#open.has(random);
  }

  attach(owner: S, stream: SessionStream): void {
    const before = this.#at(owner.random);
    this.#open.delete(owner.random);
    this.#parked.delete(owner.random);
    if (before && before.stream !== stream) before.stream.close('replaced');
    if (!this.#open.set(owner.random, { owner, stream })) stream.close('too-many-streams');
  }

  /** Its client is gone and may come back; until `detach` it hears what is sent. False = it is not the session's stream (any more). */
  park(owner: S, stream: SessionStream): boolean {
    if (this.#open.get(owner.random)?.stream !== stream) return false;
    this.#open.delete(owner.random);
    this.#parked.set(owner.owner, owner.random, { owner, stream });
    return true;
  }

  /** False = it is not the session's stream (any more). */
  detach(owner: S, stream: SessionStream): boolean {
    if (this.#at(owner.random)?.stream !== stream) return false;
    return this.#open.delete(owner.random) || this.#parked.delete(owner.random);
  }

  close(random: string, reason: string): void {
    const one = this.#at(random);
    // Away first: closing may call back into `detach`.
    this.#open.delete(random);
    this.#parked.delete(random);
    one?.stream.close(reason);
  }

  send(random: string, message: Buffer): boolean {
    return this.#at(random)?.stream.send(message) ?? false;
  }

  /** Open or parked. */
  hears(random: string): boolean {
    return this.#at(random) !== undefined;
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
