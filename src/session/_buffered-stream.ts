/**
 * The events of one resumable stream, kept for a client that lost it, and the connection that receives them now.
 * Guarantees: bounded by number, bytes and time; of several connections the newest receives what is new, and the others stay open; nothing
 * follows the last message.
 */
import type { Limits } from '../config/limits.ts';
import type { Kernel } from '../kernel/kernel.ts';
import type { WheelEntry } from '../kernel/wheel.ts';
import { STREAMS_PER_SESSION } from './_open-streams.ts';
import type { Track, TrackStream } from './resumable-streams.ts';

/** Stands in an event id behind the number of a stream's last event: whoever has had it has had everything. */
export const END = 'E';

interface Kept {
  readonly seq: number;
  readonly bytes: Buffer;
}

interface KeptTrackParts {
  readonly kernel: Kernel;
  readonly limits: Limits;
  /** False = there is no room for so many bytes. */
  readonly take: (amount: number) => boolean;
  readonly give: (amount: number) => void;
  readonly random: string;
  readonly isCall: boolean;
  readonly head: string;
  readonly tail: string;
  readonly over: () => void;
}

export class KeptTrack implements Track {
  readonly random: string;
  readonly isCall: boolean;
  readonly #parts: KeptTrackParts;
  #kept: Kept[] = []; // bounded by: replayEvents, replayBytes
  #bytes = 0;
  #seq = 0;
  /** The newest last. */
  #live: TrackStream[] = []; // bounded by: STREAMS_PER_SESSION
  #finished = false;
  /** Number of the event that carries the last message; 0 = it has not been sent. */
  #lastSeq = 0;
  /** Why it is over. */
  #over: string | undefined;
  /** It can be resumed no more; what is live goes on. */
  #isGivenUp = false;
  #expiry: WheelEntry | undefined;

  constructor(parts: KeptTrackParts) {
    this.#parts = parts;
    this.random = parts.random;
    this.isCall = parts.isCall;
  }

  get firstId(): string {
    return this.#idOf(0);
  }

  /** The event of this number was the last there will be. */
  isSaid(seq: number): boolean {
    return this.#finished && seq >= this.#seq;
  }

  /** The last message was too much to be kept. */
  get hasLostItsEnd(): boolean {
    return this.#finished && this.#kept.at(-1)?.seq !== this.#seq;
  }

  send(message: Buffer): boolean {
    if (this.#finished || this.#over !== undefined) return false;
    this.#seq += 1;
    this.#keep({ seq: this.#seq, bytes: message });
    this.#live.at(-1)?.send(message, this.#idOf(this.#seq));
    return true;
  }

  finish(message: Buffer): void {
    this.#lastSeq = this.#seq + 1;
    if (this.send(message)) this.#end('answered');
  }

  finishSilently(): void {
    if (!this.#finished && this.#over === undefined) this.#end('cancelled');
  }

  #end(reason: string): void {
    this.#finished = true;
    this.#closeLive(reason);
    this.#expire();
  }

  attach(stream: TrackStream, after: number): void {
    if (this.#over !== undefined) return stream.close(this.#over);
    this.#live.push(stream);
    // Not the one before: two clients that resume the same stream would close each other for ever.
    if (this.#live.length > STREAMS_PER_SESSION) this.#live.shift()?.close('replaced');
    this.#stay();
    for (const { seq, bytes } of this.#kept) if (seq > after) stream.send(bytes, this.#idOf(seq));
    if (!this.#finished) return;
    this.#closeLive('answered');
    this.#expire();
  }

  detach(stream: TrackStream): void {
    const at = this.#live.indexOf(stream);
    if (at < 0) return;
    this.#live.splice(at, 1);
    if (this.#live.length > 0) return;
    if (this.#isGivenUp) this.close('too-many-streams');
    else this.#expire();
  }

  /** There is no room for it: keeps nothing from now on, and ends unless a client is connected. */
  giveUp(): void {
    this.#isGivenUp = true;
    this.#parts.give(this.#bytes);
    this.#bytes = 0;
    this.#kept = [];
    if (this.#live.length === 0) this.close('too-many-streams');
  }

  close(reason: string): void {
    if (this.#over !== undefined) return;
    this.#over = reason;
    this.#stay();
    this.#parts.give(this.#bytes);
    this.#bytes = 0;
    this.#kept = [];
    this.#parts.over();
    this.#closeLive(reason);
  }

  #closeLive(reason: string): void {
    const live = this.#live;
    this.#live = [];
    for (const stream of live) stream.close(reason);
  }

  #idOf(seq: number): string {
    const end = seq > 0 && seq === this.#lastSeq ? END : '';
    return `${this.#parts.head}${seq.toString(36)}${end}${this.#parts.tail}`;
  }

  /** The newest event may be larger than a track's share: it is the answer, and there is only one. */
  #keep(event: Kept): void {
    const { limits, take } = this.#parts;
    while (
      this.#kept.length > 0 &&
      (this.#kept.length >= limits.replayEvents || this.#bytes + event.bytes.length > limits.replayBytes)
    )
      this.#drop();
    if (this.#isGivenUp || !take(event.bytes.length)) return;
    // Making room may have given up this very track.
    if (this.#isGivenUp) return this.#parts.give(event.bytes.length);
    this.#kept.push(event);
    this.#bytes += event.bytes.length;
  }

  #drop(): void {
    const oldest = this.#kept.shift();
    if (!oldest) return;
    this.#bytes -= oldest.bytes.length;
    this.#parts.give(oldest.bytes.length);
  }

  #stay(): void {
    if (this.#expiry) this.#parts.kernel.wheel.remove(this.#expiry);
    this.#expiry = undefined;
  }

  #expire(): void {
    const { kernel, limits } = this.#parts;
    if (this.#over !== undefined) return;
    this.#stay();
    this.#expiry = kernel.wheel.add(kernel.clock.nowMs() + limits.replayMs, () => this.close('too-old'));
  }
}
