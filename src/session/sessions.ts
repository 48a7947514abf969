/**
 * Legacy sessions: sealed statements that any hub can open, kept in memory only to be quick.
 * Promises: an id that this product sealed is revived by any hub, also after a kill, until it is too old or was ended by DELETE; a foreign or
 * altered id, and an id of another user or key family, is unknown; the newest GET stream of a session wins; idle ones cost nothing; opening
 * sessions by the thousand closes nobody's stream; no sweep and no broadcast holds the loop.
 * Does not: know HTTP, or carry tombstones to other hubs (`relay/` does, through `onEnded` and `bury`).
 */
import { randomBytes } from 'node:crypto';
import type { Limits } from '../config/limits.ts';
import { CappedMap } from '../kernel/capped.ts';
import type { Kernel } from '../kernel/kernel.ts';
import { type Outcome, Refusal } from '../kernel/outcome.ts';
import { type Principal, shareOf } from '../kernel/principal.ts';
import { FairMap } from '../kernel/shares.ts';
import type { KeyRing } from '../seal/key-ring.ts';
import { OpenStreams, type SessionStream } from './_open-streams.ts';
import { sweepEveryMinute } from './_sweep.ts';
import { decodeStatement, encodeStatement, type Statement, sealedOwner } from './session-token.ts';

export interface Session extends Statement {
  /** The sealed text: what the client sends as Mcp-Session-Id. */
  readonly id: string;
  /** For logs. */
  readonly shortId: string;
  /** Whose share of containers it is counted for (`kernel/principal.ts`). */
  readonly owner: string;
}

/** A session in memory, one object each: with its strings shared about 450 bytes, of which 200 are the id (measured). */
class Held implements Session {
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
  /** Monotonic; whole ms, which are kept without an object of their own. */
  usedMs: number;

  constructor(id: string, statement: Statement, owner: string, share: (text: string) => string) {
    this.id = id;
    this.random = statement.random;
    this.userId = share(statement.userId);
    this.family = share(statement.family);
    this.path = share(statement.path);
    this.version = share(statement.version);
    this.clientName = share(statement.clientName);
    this.clientVersion = share(statement.clientVersion);
    this.capabilityBits = statement.capabilityBits;
    this.issuedMs = statement.issuedMs;
    this.owner = share(owner);
    this.usedMs = 0;
  }

  get shortId(): string {
    return shortIdOf(this.random);
  }
}

function shortIdOf(random: string): string {
  return random.slice(0, 8);
}

/** A sealed id has at most 512 characters (`statement.ts`). */
const MAX_ID_LENGTH = 512;
/** Different names of users, clients and views worth sharing. */
const SHARED_TEXTS = 4096;

export interface SessionWish {
  readonly principal: Principal;
  /** Whose share it is counted for; default: the principal's without an address. */
  readonly owner?: string | undefined;
  readonly path: string;
  readonly version: string;
  readonly clientName: string;
  readonly clientVersion: string;
  readonly capabilityBits: number;
}

/** An ended session: its random part and when it ended (wall clock ms). */
export interface Tombstone {
  readonly id: string;
  readonly atMs: number;
  /** Whose share it is counted for; absent = stored by a version that did not say. */
  readonly owner?: string | undefined;
}

export interface Sessions {
  mint(wish: SessionWish): Session;
  /** `owner` as in `SessionWish`. */
  find(id: string, principal: Principal, owner?: string): Outcome<Session>;
  /** Random part of an id that this product sealed, whoever it belongs to; undefined = it is none. */
  randomOf(id: string): string | undefined;
  /** From now on the id is answered 404 here, and everywhere once the tombstone has travelled. `reason` for the log; default DELETE. */
  end(id: string, reason?: string): void;
  /** A fleeting session (`fleeting.ts`) is over: nobody elsewhere has heard of it. */
  over(session: Session): void;
  /**
   * Forgets the sessions of an owner whose last valid key is gone. Those that are `known` elsewhere (random parts of their ids), in memory here or
   * not, end with a tombstone; for the others the missing key is enough.
   */
  endOwned(owner: { readonly userId: string; readonly family: string }, known: readonly string[]): void;
  onEnded(listener: (tombstone: Tombstone) => void): void;
  /** It was ended here or elsewhere, as far as this hub knows. */
  hasEnded(random: string): boolean;
  /** A session is over, ended here or elsewhere: its random part. */
  onOver(listener: (random: string) => void): void;
  /** A tombstone from another hub or from the store. */
  bury(tombstone: Tombstone): void;
  /** The newest stream wins: an older one is closed with `replaced`. Beyond the limit `streams` the new one is closed. */
  attach(session: Session, stream: SessionStream): void;
  /** The client is gone for now: the stream goes on hearing what is sent, until it is detached, replaced or pushed out. */
  park(session: Session, stream: SessionStream): void;
  detach(session: Session, stream: SessionStream): void;
  /** False = no stream is open, or it is gone. */
  send(session: Session, message: Buffer): boolean;
  /** The same by the random part of its id. */
  sendTo(random: string, message: Buffer): boolean;
  /** To these sessions, some of them in later turns of the loop. */
  sendToAll(randoms: readonly string[], message: Buffer): void;
  /** Whether a session has a stream, or one that its client may come back to. */
  hears(random: string): boolean;
  /** Sends to the open streams of all sessions that fit, some of them in later turns of the loop; the answer is how many. */
  broadcast(fits: (session: Session) => boolean, message: Buffer): number;
  /** Sessions in memory. */
  readonly size: number;
  /** Sessions with an open stream. */
  readonly streams: number;
  /** Idempotent. */
  stop(): void;
}

export function createSessions(parts: { kernel: Kernel; limits: Limits; keyRing: KeyRing }): Sessions {
  const { kernel, limits, keyRing } = parts;
  // Only a memory of what was opened: an entry that is pushed out comes back from its id.
  const held = new FairMap<string, Held>(
    'session.sessions',
    { max: limits.sessions, share: limits.sessionsPerKey },
    'evict-greediest',
    kernel.ceilings,
  );
  const streams = new OpenStreams<Session>(kernel, limits.streams, limits.retainedStreamsPerKey);
  const tombstones = new FairMap<string, number>(
    'session.tombstones',
    { max: limits.tombstones, share: limits.tombstonesPerKey },
    'evict-greediest',
    kernel.ceilings,
  );
  const texts = new CappedMap<string, string>('session.texts', SHARED_TEXTS, 'drop-oldest', kernel.ceilings);
  const overListeners: ((random: string) => void)[] = []; // bounded by: the rooms that listen
  const endListeners: ((tombstone: Tombstone) => void)[] = []; // bounded by: the rooms that listen
  const sweep = sweepEveryMinute(kernel.timers, (swept) => {
    const idleBefore = kernel.clock.nowMs() - limits.sessionIdleMs;
    const oldBefore = kernel.clock.wallMs() - limits.sessionMs;
    swept.drop(held, (one) => one.usedMs < idleBefore && !streams.has(one.random));
    swept.drop(tombstones, (atMs) => atMs < oldBefore);
  });

  /** `owner` is known to the caller when the session is not in memory; a session of a key needs none. */
  function opened(id: string, owner?: string): Held | undefined {
    const known = held.get(id);
    if (known) return known;
    if (id.length > MAX_ID_LENGTH) return undefined;
    const bytes = keyRing.open('session', id);
    const statement = bytes && decodeStatement(bytes);
    return statement && hold(id, statement, owner ?? statement.family);
  }

  function hold(id: string, statement: Statement, owner: string): Held {
    const one = new Held(id, statement, owner, share);
    touch(one);
    held.set(owner, id, one);
    return one;
  }

  function endKnown({ random, owner }: Pick<Session, 'random' | 'owner'>, reason: string): void {
    if (tombstones.has(random)) return;
    const tombstone: Tombstone = { id: random, atMs: kernel.clock.wallMs(), owner };
    tombstones.set(owner, tombstone.id, tombstone.atMs);
    streams.close(random, 'session-ended');
    kernel.bus.publish({ type: 'session-ended', session: shortIdOf(random), reason });
    for (const listener of endListeners) listener(tombstone);
    for (const listener of overListeners) listener(random);
  }

  function touch(one: Held): void {
    one.usedMs = Math.floor(kernel.clock.nowMs());
  }

  function used(session: Session): void {
    const one = held.get(session.id);
    if (one) touch(one);
  }

  function share(text: string): string {
    const known = texts.get(text);
    if (known === undefined) texts.set(text, text);
    return known ?? text;
  }

  return {
    mint(wish) {
      const bytes = encodeStatement({
        random: randomBytes(16).toString('hex'),
        userId: wish.principal.userId,
        family: wish.principal.family,
        path: wish.path,
        version: wish.version,
        clientName: wish.clientName,
        clientVersion: wish.clientVersion,
        capabilityBits: wish.capabilityBits,
        issuedMs: kernel.clock.wallMs(),
      });
      // Read back, so that the session is the same here as on a hub that revives it, and holds no long name.
      const owner = wish.owner ?? shareOf(wish.principal, '');
      return hold(keyRing.seal('session', bytes), decodeStatement(bytes) as Statement, owner);
    },
    find(id, principal, owner) {
      const session = opened(id, owner);
      if (!session) return new Refusal('session-unknown');
      if (session.userId !== sealedOwner(principal.userId) || session.family !== sealedOwner(principal.family))
        return new Refusal('session-unknown');
      if (tombstones.has(session.random)) return new Refusal('session-ended');
      if (kernel.clock.wallMs() - session.issuedMs > limits.sessionMs)
        return new Refusal('session-unknown', 'Session is too old. Start a new one with initialize.');
      touch(session);
      return session;
    },
    randomOf: (id) => opened(id)?.random,
    end(id, reason = 'DELETE') {
      const one = opened(id);
      if (!one) return;
      held.delete(id);
      endKnown(one, reason);
    },
    endOwned(owner, known) {
      const userId = sealedOwner(owner.userId);
      const family = sealedOwner(owner.family);
      for (const one of [...held.values()]) if (one.family === family && one.userId === userId) held.delete(one.id);
      for (const random of known) endKnown({ random, owner: owner.family }, 'key-revoked');
    },
    over({ random }) {
      streams.close(random, 'session-ended');
      for (const listener of overListeners) listener(random);
    },
    hasEnded: (random) => tombstones.has(random),
    onOver(listener) {
      overListeners.push(listener);
    },
    onEnded(listener) {
      endListeners.push(listener);
    },
    bury(tombstone) {
      if (tombstones.has(tombstone.id)) return;
      tombstones.set(tombstone.owner ?? '', tombstone.id, tombstone.atMs);
      streams.close(tombstone.id, 'session-ended');
      for (const listener of overListeners) listener(tombstone.id);
    },
    attach(session, stream) {
      if (tombstones.has(session.random)) return stream.close('session-ended');
      streams.attach(session, stream);
    },
    park(session, stream) {
      if (streams.park(session, stream)) used(session);
    },
    detach(session, stream) {
      if (streams.detach(session, stream)) used(session);
    },
    send: (session, message) => streams.send(session.random, message),
    sendTo: (random, message) => streams.send(random, message),
    sendToAll: (randoms, message) => streams.sendToAll(randoms, message),
    hears: (random) => streams.hears(random),
    broadcast: (fits, message) => streams.broadcast(fits, message),
    get size() {
      return held.size;
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
