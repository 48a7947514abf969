/**
 * What has been sent on a session's streams, so that a client that lost one goes on where it was: by GET with Last-Event-ID.
 * Promises: an event is replayed on the stream it belongs to and on no other; nothing is sent after a call's answer; the newest response of a
 * track wins; what is kept is bounded by number, bytes and time, a track's and all tracks'; an event id says which hub, which life of it
 * and which request it belongs to, so that also a hub that never saw the call can say plainly that it is lost.
 * Does not: know HTTP or SSE (`downstream/`), or who may resume (`sessions.ts` has opened the session by then).
 * Source: specification 2025-11-25, transports, resumability; defaults.md, streams.
 */
import { randomBytes } from 'node:crypto';
import type { Limits } from '../config/limits.ts';
import { CappedCount, CappedMap } from '../kernel/capped.ts';
import type { Kernel } from '../kernel/kernel.ts';
import type { WheelEntry } from '../kernel/wheel.ts';
import type { SessionStream } from './_open-streams.ts';

/** The live end of a track. */
export interface TrackStream extends SessionStream {
  send(message: Buffer, eventId?: string): boolean;
}

interface Kept {
  readonly seq: number;
  readonly bytes: Buffer;
}

export interface Track extends SessionStream {
  /** The id before the first event: what a priming event carries. */
  readonly firstId: string;
  /** From now on events go here, those after number `after` at once. A track that is finished closes it. */
  attach(stream: TrackStream, after: number): void;
  /** The client is gone; what follows is kept for it. */
  detach(stream: TrackStream): void;
  /** The last message. Nothing follows; it stays for a while, for a client that lost the stream before it came. */
  finish(message: Buffer): void;
}

export type Resumed =
  | { readonly kind: 'track'; readonly track: Track; readonly after: number; readonly isCall: boolean }
  /** The stream is another hub's of this machine. */
  | { readonly kind: 'elsewhere'; readonly slot: number; readonly idRaw: Buffer | undefined }
  /** The call of this request id was lost with its hub, or is too long ago. */
  | { readonly kind: 'lost'; readonly idRaw: Buffer }
  /** The client has had the last message of the call. */
  | { readonly kind: 'over' }
  /** Nothing to go on with: a new stream. */
  | { readonly kind: 'none' };

export interface Tracks {
  /** A track of a session. `idRaw` = raw JSON text of the request's id; undefined = the session's standing stream. `closed` hears of its end. */
  open(random: string, idRaw: Buffer | undefined, closed?: () => void): Track;
  /** What `Last-Event-ID` of this session means. */
  resume(random: string, lastEventId: string): Resumed;
}

const MAX_ID_BYTES = 128;
/** Stands for the life of a hub in the id of the news that a call is lost; a real one is longer. */
const LOST = 'lost';
const EVENT_ID = /^(\d{1,3})\.([\w-]{4,16})\.([0-9a-z]{1,10})\.([0-9a-z]{1,8})(?:\.([\w-]{1,172}))?$/;

/** The id of the event that tells a client that its call is lost: with it, it has had everything there is. `idRaw` comes from an event id. */
export function lostEventId(idRaw: Buffer): string {
  return `0.${LOST}.0.0.${idRaw.toString('base64url')}`;
}

export interface TracksParts {
  readonly kernel: Kernel;
  readonly limits: Limits;
  /** Slot of this hub. */
  readonly slot: number;
}

export function createTracks({ kernel, limits, slot }: TracksParts): Tracks {
  const life = randomBytes(6).toString('base64url');
  const byNumber = new CappedMap<string, KeptTrack>('session.tracks', limits.streams, 'drop-oldest', kernel.ceilings);
  const bytes = new CappedCount('session.replay-bytes', limits.replayAllBytes, 'refuse', kernel.ceilings);
  let opened = 0;
  return {
    open(random, idRaw, closed) {
      opened += 1;
      const number = opened.toString(36);
      const tail = idRaw && idRaw.length <= MAX_ID_BYTES ? `.${idRaw.toString('base64url')}` : '';
      const track = new KeptTrack({
        kernel,
        limits,
        bytes,
        random,
        isCall: idRaw !== undefined,
        head: `${slot}.${life}.${number}.`,
        tail,
        over: () => {
          byNumber.delete(number);
          closed?.();
        },
      });
      byNumber.set(number, track);
      return track;
    },
    resume(random, lastEventId) {
      const parts = EVENT_ID.exec(lastEventId);
      if (!parts) return { kind: 'none' };
      const [, slotText, lifeText, number = '', seq = '', idText] = parts;
      const idRaw = idText === undefined ? undefined : requestId(idText);
      if (lifeText === LOST && idRaw) return { kind: 'over' };
      const lost: Resumed = idRaw ? { kind: 'lost', idRaw } : { kind: 'none' };
      if (Number(slotText) !== slot) return { kind: 'elsewhere', slot: Number(slotText), idRaw };
      const track = lifeText === life ? byNumber.get(number) : undefined;
      if (!track || track.random !== random) return lost;
      const after = Number.parseInt(seq, 36);
      if (track.isSaid(after)) return { kind: 'over' };
      return track.hasLostItsEnd ? lost : { kind: 'track', track, after, isCall: track.isCall };
    },
  };
}

/** The request id of an event id; it comes from the client, so that anything may be in it. */
function requestId(text: string): Buffer | undefined {
  const raw = Buffer.from(text, 'base64url');
  try {
    const value: unknown = JSON.parse(raw.toString('utf8'));
    return typeof value === 'string' || typeof value === 'number' ? raw : undefined;
  } catch {
    return undefined;
  }
}

interface KeptTrackParts {
  readonly kernel: Kernel;
  readonly limits: Limits;
  readonly bytes: CappedCount;
  readonly random: string;
  readonly isCall: boolean;
  readonly head: string;
  readonly tail: string;
  readonly over: () => void;
}

class KeptTrack implements Track {
  readonly random: string;
  readonly isCall: boolean;
  readonly #parts: KeptTrackParts;
  #kept: Kept[] = []; // bounded by: replayEvents, replayBytes
  #bytes = 0;
  #seq = 0;
  #live: TrackStream | undefined;
  #finished = false;
  /** Why it is over. */
  #over: string | undefined;
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
    this.#live?.send(message, this.#idOf(this.#seq));
    return true;
  }

  finish(message: Buffer): void {
    if (!this.send(message)) return;
    this.#finished = true;
    const live = this.#live;
    this.#live = undefined;
    live?.close('answered');
    this.#expire();
  }

  attach(stream: TrackStream, after: number): void {
    if (this.#over !== undefined) return stream.close(this.#over);
    const before = this.#live;
    this.#live = stream;
    before?.close('replaced');
    this.#stay();
    for (const { seq, bytes } of this.#kept) if (seq > after) stream.send(bytes, this.#idOf(seq));
    if (!this.#finished) return;
    this.#live = undefined;
    stream.close('answered');
    this.#expire();
  }

  detach(stream: TrackStream): void {
    if (this.#live !== stream) return;
    this.#live = undefined;
    this.#expire();
  }

  close(reason: string): void {
    if (this.#over !== undefined) return;
    this.#over = reason;
    this.#stay();
    const live = this.#live;
    this.#live = undefined;
    this.#parts.bytes.give(this.#bytes);
    this.#bytes = 0;
    this.#kept = [];
    this.#parts.over();
    live?.close(reason);
  }

  #idOf(seq: number): string {
    return `${this.#parts.head}${seq.toString(36)}${this.#parts.tail}`;
  }

  /** The newest event may be larger than a track's share: it is the answer, and there is only one. */
  #keep(event: Kept): void {
    const { limits, bytes } = this.#parts;
    while (
      this.#kept.length > 0 &&
      (this.#kept.length >= limits.replayEvents || this.#bytes + event.bytes.length > limits.replayBytes)
    )
      this.#drop();
    if (!bytes.take(event.bytes.length)) return;
    this.#kept.push(event);
    this.#bytes += event.bytes.length;
  }

  #drop(): void {
    const oldest = this.#kept.shift();
    if (!oldest) return;
    this.#bytes -= oldest.bytes.length;
    this.#parts.bytes.give(oldest.bytes.length);
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
