/**
 * Sessions of the 2025 eras: sealed session ids that any worker can open; memory is only a cache.
 * Guarantees: any worker accepts an id sealed with a known secret, also after `kill -9`, until it is too old or ended by DELETE; a foreign or
 * altered id, or one of another user or key family, is unknown; idle sessions cost nothing; many new sessions close nobody's stream; no sweep
 * and no broadcast blocks the event loop. `process/session-records.ts` replicates tombstones.
 */
import { randomBytes } from 'node:crypto';
import type { Limits } from '../config/limits.ts';
import { type Outcome, Refusal } from '../model/outcome.ts';
import { type Principal, shareOf } from '../model/principal.ts';
import { CappedMap } from '../runtime/capped.ts';
import type { Runtime } from '../runtime/runtime.ts';
import { FairMap } from '../runtime/shares.ts';
import type { KeyRing } from '../seal/key-ring.ts';
import { OpenStreams, type SessionStream } from './_open-streams.ts';
import { sweepEveryMinute } from './_sweep.ts';
import { decodeSessionToken, encodeSessionToken, type SessionToken, sealedOwner } from './session-token.ts';

export interface Session extends SessionToken {
  /** Value of `Mcp-Session-Id`. */
  readonly id: string;
  /** Used in logs. */
  readonly shortId: string;
  /** Whose share of containers it is charged to (`model/principal.ts`). */
  readonly owner: string;
}

/** A cached session: about 450 bytes with shared strings, of which 200 are the id (measured). */
class CachedSession implements Session {
  readonly id: string;
  readonly random: string;
  readonly userId: string;
  readonly family: string;
  readonly path: string;
  readonly version: string;
  readonly clientName: string;
  readonly clientVersion: string;
  readonly capabilityBits: number;
  readonly issuedMs: number;
  readonly owner: string;
  /** Monotonic ms, an integer: V8 stores it without a heap object. */
  usedMs: number;

  constructor(id: string, token: SessionToken, owner: string, share: (text: string) => string) {
    this.id = id;
    this.random = token.random;
    this.userId = share(token.userId);
    this.family = share(token.family);
    this.path = share(token.path);
    this.version = share(token.version);
    this.clientName = share(token.clientName);
    this.clientVersion = share(token.clientVersion);
    this.capabilityBits = token.capabilityBits;
    this.issuedMs = token.issuedMs;
    this.owner = share(owner);
    this.usedMs = 0;
  }

  get shortId(): string {
    return shortId(this.random);
  }
}

function shortId(random: string): string {
  return random.slice(0, 8);
}

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

/** An ended session: random part of its id, and when it ended (wall clock ms). */
export interface Tombstone {
  readonly id: string;
  readonly atMs: number;
  /** Whose share it is charged to; absent = written by an older version. */
  readonly owner?: string | undefined;
}

export interface Sessions {
  create(newSession: NewSession): Session;
  /** `owner`: as in `NewSession`. */
  find(id: string, principal: Principal, owner?: string): Outcome<Session>;
  /** Returns the random part of an id sealed by this product, of any owner; undefined = not such an id. */
  randomPart(id: string): string | undefined;
  /** Ends a session: its id returns 404 here, and on other workers when the tombstone arrives. `reason` is logged; default DELETE. */
  end(id: string, reason?: string): void;
  /** Ends an ephemeral session (`ephemeral.ts`), without a tombstone. */
  endEphemeral(session: Session): void;
  /**
   * Drops the sessions of an owner whose last valid key is revoked. Those that are `known` to other workers (random parts) end with a tombstone;
   * for the others the missing key is enough.
   */
  endOwned(owner: { readonly userId: string; readonly family: string }, known: readonly string[]): void;
  onTombstone(listener: (tombstone: Tombstone) => void): void;
  /** Returns whether the session has ended here or on another worker, as far as known. */
  hasEnded(random: string): boolean;
  /** Called with the random part of each session that ends, here or on another worker. */
  onEnd(listener: (random: string) => void): void;
  /** Applies a tombstone of another worker or of the store. */
  applyTombstone(tombstone: Tombstone): void;
  /** Adds a stream as the newest of its session; beyond the limit `streams` the new one is closed. */
  attach(session: Session, stream: SessionStream): void;
  /** Keeps a stream whose client may return: it receives messages until it is detached, replaced or evicted. */
  retain(session: Session, stream: SessionStream): void;
  detach(session: Session, stream: SessionStream): void;
  /** Returns false when no stream is open. */
  send(session: Session, message: Buffer): boolean;
  /** Like `send`, by the random part of the session id. */
  sendTo(random: string, message: Buffer): boolean;
  /** Sends to these sessions, some of them in later turns of the event loop. */
  sendToAll(randoms: readonly string[], message: Buffer): void;
  /** Returns whether a session has an open or retained stream. */
  hasStream(random: string): boolean;
  /** Sends to the open streams of all matching sessions, some of them in later turns of the event loop. Returns their number. */
  broadcast(fits: (session: Session) => boolean, message: Buffer): number;
  /** Number of cached sessions. */
  readonly size: number;
  /** Number of sessions with an open stream. */
  readonly streams: number;
  /** Idempotent. */
  stop(): void;
}

export function createSessions(parts: { runtime: Runtime; limits: Limits; keyRing: KeyRing }): Sessions {
  const { runtime, limits, keyRing } = parts;
  // Only a cache: an evicted session is opened again from its id.
  const cache = new FairMap<string, CachedSession>(
    'session.sessions',
    { max: () => limits.sessions, share: () => limits.sessionsPerKey },
    'evict-greediest',
    runtime.ceilings,
  );
  const streams = new OpenStreams<Session>(runtime, {
    max: () => limits.streams,
    share: () => limits.retainedStreamsPerKey,
  });
  const tombstones = new FairMap<string, number>(
    'session.tombstones',
    { max: () => limits.tombstones, share: () => limits.tombstonesPerKey },
    'evict-greediest',
    runtime.ceilings,
  );
  const texts = new CappedMap<string, string>('session.texts', SHARED_TEXTS, 'drop-oldest', runtime.ceilings);
  const endListeners: ((random: string) => void)[] = []; // bounded by: the modules that listen
  const tombstoneListeners: ((tombstone: Tombstone) => void)[] = []; // bounded by: the modules that listen
  const sweep = sweepEveryMinute(runtime.timers, (swept) => {
    const idleBefore = runtime.clock.nowMs() - limits.sessionIdleMs;
    const oldBefore = runtime.clock.wallMs() - limits.sessionMs;
    swept.sweep(cache, (one) => one.usedMs < idleBefore && !streams.has(one.random));
    swept.sweep(tombstones, (atMs) => atMs < oldBefore);
  });

  /** `owner` is needed only for a session without a key that is not cached. */
  function openToken(id: string, owner?: string): CachedSession | undefined {
    const known = cache.get(id);
    if (known) return known;
    if (id.length > MAX_ID_LENGTH) return undefined;
    const bytes = keyRing.open('session', id);
    const token = bytes && decodeSessionToken(bytes);
    return token && cacheSession(id, token, owner ?? token.family);
  }

  function cacheSession(id: string, token: SessionToken, owner: string): CachedSession {
    const one = new CachedSession(id, token, owner, share);
    touch(one);
    cache.set(owner, id, one);
    return one;
  }

  function endWithTombstone({ random, owner }: Pick<Session, 'random' | 'owner'>, reason: string): void {
    if (tombstones.has(random)) return;
    const tombstone: Tombstone = { id: random, atMs: runtime.clock.wallMs(), owner };
    tombstones.set(owner, tombstone.id, tombstone.atMs);
    streams.close(random, 'session-ended');
    runtime.bus.publish({ type: 'session-ended', session: shortId(random), reason });
    for (const listener of tombstoneListeners) listener(tombstone);
    for (const listener of endListeners) listener(random);
  }

  function touch(one: CachedSession): void {
    one.usedMs = Math.floor(runtime.clock.nowMs());
  }

  function touchCached(session: Session): void {
    const one = cache.get(session.id);
    if (one) touch(one);
  }

  function share(text: string): string {
    const known = texts.get(text);
    if (known === undefined) texts.set(text, text);
    return known ?? text;
  }

  return {
    create(newSession) {
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
      return cacheSession(keyRing.seal('session', bytes), decodeSessionToken(bytes) as SessionToken, owner);
    },
    find(id, principal, owner) {
      const session = openToken(id, owner);
      if (!session) return new Refusal('session-unknown');
      if (session.userId !== sealedOwner(principal.userId) || session.family !== sealedOwner(principal.family))
        return new Refusal('session-unknown');
      if (tombstones.has(session.random)) return new Refusal('session-ended');
      if (runtime.clock.wallMs() - session.issuedMs > limits.sessionMs)
        return new Refusal('session-unknown', 'Session is too old. Start a new one with initialize.');
      touch(session);
      return session;
    },
    randomPart: (id) => openToken(id)?.random,
    end(id, reason = 'DELETE') {
      const one = openToken(id);
      if (!one) return;
      cache.delete(id);
      endWithTombstone(one, reason);
    },
    endOwned(owner, known) {
      const userId = sealedOwner(owner.userId);
      const family = sealedOwner(owner.family);
      for (const one of [...cache.values()]) if (one.family === family && one.userId === userId) cache.delete(one.id);
      for (const random of known) endWithTombstone({ random, owner: owner.family }, 'key-revoked');
    },
    endEphemeral({ random }) {
      streams.close(random, 'session-ended');
      for (const listener of endListeners) listener(random);
    },
    hasEnded: (random) => tombstones.has(random),
    onEnd(listener) {
      endListeners.push(listener);
    },
    onTombstone(listener) {
      tombstoneListeners.push(listener);
    },
    applyTombstone(tombstone) {
      if (tombstones.has(tombstone.id)) return;
      tombstones.set(tombstone.owner ?? '', tombstone.id, tombstone.atMs);
      streams.close(tombstone.id, 'session-ended');
      for (const listener of endListeners) listener(tombstone.id);
    },
    attach(session, stream) {
      if (tombstones.has(session.random)) return stream.close('session-ended');
      streams.attach(session, stream);
    },
    retain(session, stream) {
      if (streams.retain(session, stream)) touchCached(session);
    },
    detach(session, stream) {
      if (streams.detach(session, stream)) touchCached(session);
    },
    send: (session, message) => streams.send(session.random, message),
    sendTo: (random, message) => streams.send(random, message),
    sendToAll: (randoms, message) => streams.sendToAll(randoms, message),
    hasStream: (random) => streams.hasStream(random),
    broadcast: (fits, message) => streams.broadcast(fits, message),
    get size() {
      return cache.size;
    },
    get streams() {
      return streams.size;
    },
    stop() {
      streams.stop();
      sweep[Symbol.dispose]();
    },
  };
}
