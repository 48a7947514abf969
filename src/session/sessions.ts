/**
 * Sessions of the 2025 eras: sealed session ids that any worker can open; memory is only a cache.
 * Guarantees: any worker accepts an id sealed with a known secret, also after `kill -9`, until it is too old or ended
 * by DELETE; a foreign or altered id, or one of another user or key family, is unknown; idle sessions cost nothing;
 * many new sessions close nobody's stream; no sweep and no broadcast blocks the event loop.
 * `process/session-records.ts` replicates tombstones.
 */
import { randomBytes } from 'node:crypto';
import type { Limits } from '../config/limits.ts';
import { type Outcome, Refusal } from '../model/outcome.ts';
import { type Principal, shareOf } from '../model/principal.ts';
import { CappedMap } from '../runtime/capped.ts';
import type { Runtime } from '../runtime/runtime.ts';
import { FairMap } from '../runtime/shares.ts';
import type { KeyRing } from '../seal/key-ring.ts';
import { CachedSession, type Session } from './_cached-session.ts';
import { EndedSessions, type Tombstone } from './_ended-sessions.ts';
import { OpenStreams, type SessionStream } from './_open-streams.ts';
import { sweepEveryMinute } from './_sweep.ts';
import { decodeSessionToken, encodeSessionToken, type SessionToken, sealedOwner } from './session-token.ts';

export type { Session } from './_cached-session.ts';
export type { Tombstone } from './_ended-sessions.ts';

/** Sealed ids have at most 512 characters (`session-token.ts`). */
const MAX_ID_LENGTH = 512;
/** Maximum number of strings (users, clients, views) that sessions share. */
const SHARED_TEXTS = 4096;

export interface NewSession {
  readonly principal: Principal;
  /** Whose share it is charged to; default: the principal's without an address. */
  readonly owner?: string | undefined;
  readonly path: string;
  readonly version: string;
  readonly clientName: string;
  readonly clientVersion: string;
  readonly capabilityBits: number;
}

export interface SessionsParts {
  readonly runtime: Runtime;
  readonly limits: Limits;
  readonly keyRing: KeyRing;
}

export class Sessions {
  readonly #parts: SessionsParts;
  /** Only a cache: an evicted session is opened again from its id. */
  readonly #cache: FairMap<string, CachedSession>;
  readonly #streams: OpenStreams<Session>;
  readonly #ended: EndedSessions;
  readonly #texts: CappedMap<string, string>;
  readonly #sweeping: Disposable;

  constructor(parts: SessionsParts) {
    const { runtime, limits } = parts;
    this.#parts = parts;
    this.#cache = new FairMap(
      'session.sessions',
      { max: () => limits.sessions, share: () => limits.sessionsPerKey },
      'evict-greediest',
      runtime.ceilings,
    );
    const streams = { max: () => limits.streams, share: () => limits.retainedStreamsPerKey };
    this.#streams = new OpenStreams(runtime, streams);
    this.#ended = new EndedSessions(runtime, limits, (random) => this.#streams.close(random, 'session-ended'));
    this.#texts = new CappedMap('session.texts', SHARED_TEXTS, 'drop-oldest', runtime.ceilings);
    this.#sweeping = sweepEveryMinute(runtime.timers, (sweeper) => {
      const idleBefore = runtime.clock.nowMs() - limits.sessionIdleMs;
      const oldBefore = runtime.clock.wallMs() - limits.sessionMs;
      sweeper.sweep(this.#cache, (one) => one.usedMs < idleBefore && !this.#streams.has(one.random));
      this.#ended.sweep(sweeper, oldBefore);
    });
  }

  /** Number of cached sessions. */
  get size(): number {
    return this.#cache.size;
  }

  /** Number of sessions with an open stream. */
  get streams(): number {
    return this.#streams.size;
  }

  create(newSession: NewSession): Session {
    const { runtime, keyRing } = this.#parts;
    const bytes = encodeSessionToken({
      random: randomBytes(16).toString('hex'),
      userId: newSession.principal.userId,
      family: newSession.principal.family,
      path: newSession.path,
      version: newSession.version,
      clientName: newSession.clientName,
      clientVersion: newSession.clientVersion,
      capabilityBits: newSession.capabilityBits,
      issuedMs: runtime.clock.wallMs(),
    });
    // Decode again, so that the session equals the one that another worker opens, and holds no long name.
    const owner = newSession.owner ?? shareOf(newSession.principal, '');
    return this.#keep(keyRing.seal('session', bytes), decodeSessionToken(bytes) as SessionToken, owner);
  }

  /** `owner`: as in `NewSession`. */
  find(id: string, principal: Principal, owner?: string): Outcome<Session> {
    const session = this.#open(id, owner);
    if (!session) return new Refusal('session-unknown');
    if (session.userId !== sealedOwner(principal.userId) || session.family !== sealedOwner(principal.family))
      return new Refusal('session-unknown');
    if (this.#ended.has(session.random)) return new Refusal('session-ended');
    const { runtime, limits } = this.#parts;
    if (runtime.clock.wallMs() - session.issuedMs > limits.sessionMs)
      return new Refusal('session-unknown', 'Session is too old. Start a new one with initialize.');
    this.#touch(session);
    return session;
  }

  /** Returns the random part of an id sealed by this product, of any owner; undefined = not such an id. */
  randomPart(id: string): string | undefined {
    return this.#open(id)?.random;
  }

  /**
   * Ends a session: its id returns 404 here, and on other workers when the tombstone arrives. `reason` is logged;
   * default DELETE.
   */
  end(id: string, reason = 'DELETE'): void {
    const session = this.#open(id);
    if (!session) return;
    this.#cache.delete(id);
    this.#ended.end(session.random, session.owner, reason);
  }

  /** Ends an ephemeral session (`ephemeral.ts`), without a tombstone. */
  endEphemeral({ random }: Session): void {
    this.#ended.endHere(random);
  }

  /**
   * Drops the sessions of an owner whose last valid key is revoked. Those that are `known` to other workers (random
   * parts) end with a tombstone; for the others the missing key is enough.
   */
  endOwned(owner: { readonly userId: string; readonly family: string }, known: readonly string[]): void {
    const userId = sealedOwner(owner.userId);
    const family = sealedOwner(owner.family);
    for (const one of [...this.#cache.values()])
      if (one.family === family && one.userId === userId) this.#cache.delete(one.id);
    for (const random of known) this.#ended.end(random, owner.family, 'key-revoked');
  }

  onTombstone(listener: (tombstone: Tombstone) => void): void {
    this.#ended.onTombstone(listener);
  }

  /** Returns whether the session has ended here or on another worker, as far as known. */
  hasEnded(random: string): boolean {
    return this.#ended.has(random);
  }

  /** Called with the random part of each session that ends, here or on another worker. */
  onEnd(listener: (random: string) => void): void {
    this.#ended.onEnd(listener);
  }

  /** Applies a tombstone of another worker or of the store. */
  applyTombstone(tombstone: Tombstone): void {
    this.#ended.apply(tombstone);
  }

  /** Adds a stream as the newest of its session; beyond the limit `streams` the new one is closed. */
  attach(session: Session, stream: SessionStream): void {
    if (this.#ended.has(session.random)) return stream.close('session-ended');
    this.#streams.attach(session, stream);
  }

  /** Keeps a stream whose client may return: it receives messages until it is detached, replaced or evicted. */
  retain(session: Session, stream: SessionStream): void {
    if (this.#streams.retain(session, stream)) this.#touch(this.#cache.get(session.id));
  }

  detach(session: Session, stream: SessionStream): void {
    if (this.#streams.detach(session, stream)) this.#touch(this.#cache.get(session.id));
  }

  /** Returns false when no stream is open. */
  send(session: Session, message: Buffer): boolean {
    return this.#streams.send(session.random, message);
  }

  /** Like `send`, by the random part of the session id. */
  sendTo(random: string, message: Buffer): boolean {
    return this.#streams.send(random, message);
  }

  /** Sends to these sessions, some of them in later turns of the event loop. */
  sendToAll(randoms: readonly string[], message: Buffer): void {
    this.#streams.sendToAll(randoms, message);
  }

  /** Returns whether a session has an open or retained stream. */
  hasStream(random: string): boolean {
    return this.#streams.hasStream(random);
  }

  /**
   * Sends to the open streams of all matching sessions, some of them in later turns of the event loop. Returns their
   * number.
   */
  broadcast(fits: (session: Session) => boolean, message: Buffer): number {
    return this.#streams.broadcast(fits, message);
  }

  /** Idempotent. */
  stop(): void {
    this.#streams.stop();
    this.#sweeping[Symbol.dispose]();
  }

  /** `owner` is needed only for a session without a key that is not cached. */
  #open(id: string, owner?: string): CachedSession | undefined {
    const known = this.#cache.get(id);
    if (known) return known;
    if (id.length > MAX_ID_LENGTH) return undefined;
    const bytes = this.#parts.keyRing.open('session', id);
    const token = bytes && decodeSessionToken(bytes);
    return token && this.#keep(id, token, owner ?? token.family);
  }

  #keep(id: string, token: SessionToken, owner: string): CachedSession {
    const session = new CachedSession(id, token, owner, this.#share);
    this.#touch(session);
    this.#cache.set(owner, id, session);
    return session;
  }

  #touch(session: CachedSession | undefined): void {
    if (session) session.usedMs = Math.floor(this.#parts.runtime.clock.nowMs());
  }

  /** Returns one string for all equal texts. */
  readonly #share = (text: string): string => {
    const known = this.#texts.get(text);
    if (known === undefined) this.#texts.set(text, text);
    return known ?? text;
  };
}
