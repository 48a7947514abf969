/**
 * What has been sent on a session's streams, so that a client that lost one goes on where it was: by GET with Last-Event-ID.
 * Promises: an event is replayed on the stream it belongs to and on no other; nothing is sent after a call's answer; of several responses of a
 * track the newest receives what is new; what is kept is bounded by number, bytes and time, a track's and all tracks'; an event id says which hub, which life of it
 * and which request it belongs to, so that also a hub that never saw the call can say plainly that it is lost.
 * Does not: know HTTP or SSE (`downstream/`), or who may resume (`sessions.ts` has opened the session by then).
 * Source: specification 2025-11-25, transports, resumability; defaults.md, streams.
 */
import { randomBytes } from 'node:crypto';
import type { Limits } from '../config/limits.ts';
import type { Kernel } from '../kernel/kernel.ts';
import type { Access } from '../kernel/open-work.ts';
import { isRefusal } from '../kernel/outcome.ts';
import { FairCount, FairMap } from '../kernel/shares.ts';
import { isRequestId } from '../protocol/answer-id.ts';
import { END, KeptTrack } from './_buffered-stream.ts';
import type { SessionStream } from './_open-streams.ts';

/** The live end of a track. */
export interface TrackStream extends SessionStream {
  send(message: Buffer, eventId?: string): boolean;
}

export interface Track extends SessionStream {
  /** The id before the first event: what a priming event carries. */
  readonly firstId: string;
  /** From now on events go here, those after number `after` at once. A track that is finished closes it. */
  attach(stream: TrackStream, after: number): void;
  /** The client is gone; what follows is kept for it. */
  detach(stream: TrackStream): void;
  /** Nothing follows, not even a last message: the call was cancelled. What was sent before can still be resumed. */
  finishSilently(): void;
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
  /**
   * Opens a track of a session (the random part of its id, and the owner of its share) for a caller, with whose key it ends. `idRaw` = raw JSON
   * text of the request's id; undefined = the session's standing stream. `closed` hears of its end. Already closed when the caller has lost
   * its right.
   */
  open(
    session: { readonly random: string; readonly owner: string },
    idRaw: Buffer | undefined,
    access: Access,
    closed?: () => void,
  ): Track;
  /** What `Last-Event-ID` of this session means. */
  resume(random: string, lastEventId: string): Resumed;
}

const MAX_ID_BYTES = 128;
/** Tracks that one event may push out. */
const MOST_GIVEN_UP = 64;
/** Stands for the life of a hub in the id of the news that a call is lost; a real one is longer. */
const LOST = 'lost';
const EVENT_ID = /^(\d{1,3})\.([\w-]{4,16})\.([0-9a-z]{1,10})\.([0-9a-z]{1,8})(E?)(?:\.([\w-]{1,172}))?$/;

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
  const byNumber = new FairMap<string, KeptTrack>(
    'session.tracks',
    { max: limits.streams, share: limits.resumableStreamsPerKey },
    'evict-greediest',
    kernel.ceilings,
    (_, track) => track.giveUp(),
  );
  const bytes = new FairCount(
    'session.replay-bytes',
    limits.replayAllBytes,
    limits.replayBytesPerKey,
    'refuse',
    kernel.ceilings,
  );
  let opened = 0;

  /** When all bytes are taken, tracks of the key that holds most are given up. */
  function take(owner: string, amount: number): boolean {
    for (let tries = 0; ; tries += 1) {
      const taken = bytes.take(owner, amount);
      if (taken !== 'full') return taken === 'taken';
      const { greediest } = bytes;
      const oldest = greediest === undefined || greediest === owner ? undefined : byNumber.oldestOf(greediest);
      if (!oldest || tries >= MOST_GIVEN_UP) return false;
      byNumber.delete(oldest[0]);
      oldest[1].giveUp();
    }
  }

  return {
    open({ random, owner }, idRaw, access, closed) {
      const open = kernel.openWork.add('retained-stream', access);
      opened += 1;
      const number = opened.toString(36);
      const tail = idRaw && idRaw.length <= MAX_ID_BYTES ? `.${idRaw.toString('base64url')}` : '';
      const track = new KeptTrack({
        kernel,
        limits,
        ...{ take: (amount: number) => take(owner, amount), give: (amount: number) => bytes.give(owner, amount) },
        random,
        isCall: idRaw !== undefined,
        head: `${slot}.${life}.${number}.`,
        tail,
        over: () => {
          if (isRefusal(open)) return;
          open.close();
          byNumber.delete(number);
          closed?.();
        },
      });
      if (isRefusal(open)) track.close(open.code);
      else {
        byNumber.set(owner, number, track);
        open.onEnd(({ code }) => track.close(code));
      }
      return track;
    },
    resume(random, lastEventId) {
      const parts = EVENT_ID.exec(lastEventId);
      if (!parts) return { kind: 'none' };
      const [, slotText, lifeText, number = '', seq = '', end, idText] = parts;
      // Said by the id itself: the worker that answered may be gone.
      if (end === END) return { kind: 'over' };
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

/** The request id of an event id; it comes from the client, so that anything may be in it: returns JSON text as the hub writes it, without blanks. */
function requestId(text: string): Buffer | undefined {
  const raw = Buffer.from(text, 'base64url');
  return isRequestId(raw) ? raw : undefined;
}
