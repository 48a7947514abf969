/**
 * Legacy sessions: sealed statements that any hub can open, kept in memory only to be quick.
 * Promises: an id that this product sealed is revived by any hub, also after a kill, until it is too old or was ended by DELETE; a foreign or
 * altered id, and an id of another user or key family, is unknown; the newest GET stream of a session wins; idle ones cost nothing.
 * Does not: know HTTP, or carry tombstones to other hubs (`relay/` does, through `onEnded` and `bury`).
 */
import { randomBytes } from 'node:crypto';
import type { Limits } from '../config/limits.ts';
import { CappedMap } from '../kernel/capped.ts';
import type { Kernel } from '../kernel/kernel.ts';
import { type Outcome, Refusal } from '../kernel/outcome.ts';
import type { Principal } from '../kernel/principal.ts';
import type { KeyRing } from '../seal/key-ring.ts';
import { decodeStatement, encodeStatement, type Statement } from './statement.ts';

export interface SessionStream {
  send(message: Buffer): boolean;
  close(reason: string): void;
}

export interface Session extends Statement {
  /** The sealed text: what the client sends as Mcp-Session-Id. */
  readonly id: string;
  /** For logs. */
  readonly shortId: string;
}

interface Held {
  readonly session: Session;
  stream: SessionStream | undefined;
  usedMs: number;
}

export interface SessionWish {
  readonly principal: Principal;
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
}

export interface Sessions {
  mint(wish: SessionWish): Session;
  find(id: string, principal: Principal): Outcome<Session>;
  /** DELETE: from now on the id is answered 404 here, and everywhere once the tombstone has travelled. */
  end(id: string): void;
  onEnded(listener: (tombstone: Tombstone) => void): void;
  /** A tombstone from another hub or from the store. */
  bury(tombstone: Tombstone): void;
  attach(session: Session, stream: SessionStream): void;
  detach(session: Session, stream: SessionStream): void;
  /** False = no stream is open, or it is gone. */
  send(session: Session, message: Buffer): boolean;
  /** Sends to the open streams of all sessions that fit; the answer is how many. */
  broadcast(fits: (session: Session) => boolean, message: Buffer): number;
  /** Sessions in memory. */
  readonly size: number;
  stop(): void;
}

const SWEEP_MS = 60_000;

export function createSessions(parts: { kernel: Kernel; limits: Limits; keyRing: KeyRing }): Sessions {
  const { kernel, limits, keyRing } = parts;
  const held = new CappedMap<string, Held>(
    'session.sessions',
    limits.sessions,
    'drop-oldest',
    kernel.ceilings,
    (_, gone) => gone.stream?.close('too-many-sessions'),
  );
  const tombstones = new CappedMap<string, number>(
    'session.tombstones',
    limits.tombstones,
    'drop-oldest',
    kernel.ceilings,
  );
  const endListeners: ((tombstone: Tombstone) => void)[] = []; // bounded by: the rooms that listen
  const sweep = kernel.timers.every(SWEEP_MS, sweepIdle, 0.1);

  function sweepIdle(): void {
    const idleBefore = kernel.clock.nowMs() - limits.sessionIdleMs;
    for (const [id, one] of held.entries()) if (one.stream === undefined && one.usedMs < idleBefore) held.delete(id);
    const oldBefore = kernel.clock.wallMs() - limits.sessionMs;
    for (const [id, atMs] of tombstones.entries()) if (atMs < oldBefore) tombstones.delete(id);
  }

  function open(id: string): Held | undefined {
    const known = held.get(id);
    if (known) return known;
    const bytes = keyRing.open('session', id);
    const statement = bytes && decodeStatement(bytes);
    return statement && hold(id, statement);
  }

  function hold(id: string, statement: Statement): Held {
    const one: Held = {
      session: { ...statement, id, shortId: statement.random.slice(0, 8) },
      stream: undefined,
      usedMs: kernel.clock.nowMs(),
    };
    held.set(id, one);
    return one;
  }

  function closeStream(one: Held, reason: string): void {
    const stream = one.stream;
    one.stream = undefined;
    stream?.close(reason);
  }

  return {
    mint(wish) {
      const statement: Statement = {
        random: randomBytes(16).toString('hex'),
        userId: wish.principal.userId,
        family: wish.principal.family,
        path: wish.path,
        version: wish.version,
        clientName: wish.clientName,
        clientVersion: wish.clientVersion,
        capabilityBits: wish.capabilityBits,
        issuedMs: kernel.clock.wallMs(),
      };
      return hold(keyRing.seal('session', encodeStatement(statement)), statement).session;
    },
    find(id, principal) {
      const one = open(id);
      if (!one) return new Refusal('session-unknown');
      const { session } = one;
      if (session.userId !== principal.userId || session.family !== principal.family)
        return new Refusal('session-unknown');
      if (tombstones.has(session.random)) return new Refusal('session-ended');
      if (kernel.clock.wallMs() - session.issuedMs > limits.sessionMs)
        return new Refusal('session-unknown', 'Session is too old. Start a new one with initialize.');
      one.usedMs = kernel.clock.nowMs();
      return session;
    },
    end(id) {
      const one = open(id);
      if (!one) return;
      const tombstone: Tombstone = { id: one.session.random, atMs: kernel.clock.wallMs() };
      tombstones.set(tombstone.id, tombstone.atMs);
      held.delete(id);
      closeStream(one, 'session-ended');
      kernel.bus.publish({ type: 'session-ended', session: one.session.shortId, reason: 'DELETE' });
      for (const listener of endListeners) listener(tombstone);
    },
    onEnded(listener) {
      endListeners.push(listener);
    },
    bury(tombstone) {
      if (tombstones.has(tombstone.id)) return;
      tombstones.set(tombstone.id, tombstone.atMs);
      for (const [id, one] of held.entries()) {
        if (one.session.random !== tombstone.id) continue;
        held.delete(id);
        closeStream(one, 'session-ended');
      }
    },
    attach(session, stream) {
      const one = open(session.id);
      if (!one) return stream.close('session-unknown');
      closeStream(one, 'replaced');
      one.stream = stream;
    },
    detach(session, stream) {
      const one = held.get(session.id);
      if (one?.stream !== stream) return;
      one.stream = undefined;
      one.usedMs = kernel.clock.nowMs();
    },
    send(session, message) {
      return held.get(session.id)?.stream?.send(message) ?? false;
    },
    broadcast(fits, message) {
      let sent = 0;
      for (const one of held.values()) if (one.stream && fits(one.session) && one.stream.send(message)) sent += 1;
      return sent;
    },
    get size() {
      return held.size;
    },
    stop() {
      sweep[Symbol.dispose]();
    },
  };
}
