/**
 * Which hub of this machine looks after a session, where it matters: servers that ask their users keep one lane a session, and what is said to
 * a session outside of calls goes to one standing stream. Connections of one client land on any hub.
 * Promises: the home follows from the session's id alone, so that every hub knows it; a hub whose sibling is away does the work itself; a request is
 * handed on once at most, and only for a session of the caller's own; with one hub nothing of this happens.
 * Does not: hand on what any hub can do (lists, calls to other servers).
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Caller } from '../call/call.ts';
import type { Limits } from '../config/limits.ts';
import { isRefusal } from '../model/outcome.ts';
import type { Snapshot, SnapshotHolder } from '../model/snapshot.ts';
import type { Envelope } from '../protocol/message.ts';
import { methodRow } from '../protocol/methods.ts';
import { paramSpan } from '../protocol/scan.ts';
import { notificationFrame } from '../protocol/write.ts';
import type { Session, Sessions } from '../session/sessions.ts';
import type { Authorized } from './authorized.ts';
import { isHop, type PeerWorkers } from './peer-workers.ts';

export interface SessionAffinityParts {
  readonly limits: Limits;
  /** Slot of this hub. */
  readonly slot: number;
  readonly sessions: Sessions;
  readonly snapshots: SnapshotHolder;
  readonly peers: PeerWorkers;
}

export interface SessionAffinity {
  /** Hands a message on to its session's home; `here` = what to do when that hub is away. False = it belongs here. */
  passesMessage(
    request: IncomingMessage,
    response: ServerResponse,
    message: { readonly authorized: Authorized; readonly envelope: Envelope; readonly here: () => void },
  ): boolean;
  /** The same for the standing stream. */
  passesStream(
    request: IncomingMessage,
    response: ServerResponse,
    stream: { readonly session: Pick<Session, 'random' | 'owner'>; readonly caller: Caller },
    here: () => void,
  ): boolean;
}

/** Answered from memory, but heard by the session's lanes. */
const HOMELY: ReadonlySet<string> = new Set(['logging/setLevel']);

export function createSessionAffinity({
  limits,
  slot,
  sessions,
  snapshots,
  peers,
}: SessionAffinityParts): SessionAffinity {
  let seen: Snapshot | undefined;
  let asks = false;

  /** Whether any server asks its users; looked up once a world. */
  function isAsking(): boolean {
    if (seen !== snapshots.current) {
      seen = snapshots.current;
      asks = seen.servers.some(({ enabled, interactive }) => enabled && interactive);
    }
    return asks;
  }

  function isAlone(request: IncomingMessage): boolean {
    return limits.hubs <= 1 || isHop(request);
  }

  /** 1 … hubs. */
  function homeOf(random: string): number {
    return (Number.parseInt(random.slice(0, 8), 16) % limits.hubs) + 1;
  }

  function needsHome({ kind, method }: Envelope): boolean {
    if (kind === 'notification') return method === 'notifications/roots/list_changed';
    return kind === 'request' && isAsking() && (HOMELY.has(method) || methodRow(method)?.served === 'upstream');
  }

  return {
    passesMessage(request, response, { authorized, envelope, here }) {
      const { sessionId } = authorized.context;
      if (isAlone(request) || sessionId === undefined) return false;
      const isCancel = envelope.method === 'notifications/cancelled';
      if (!isCancel && !needsHome(envelope)) return false;
      const { principal, owner } = authorized.caller;
      const session = sessions.find(sessionId, principal, owner);
      if (isRefusal(session)) return false;
      if (isCancel) {
        // The call may be at any hub; cancelling nothing does no harm.
        const body = cancelOf(envelope, limits.idBytes);
        for (let other = 1; body && other <= limits.hubs; other += 1)
          if (other !== slot) peers.tell(request, { slot: other, owner, body });
        return false;
      }
      const affinity = homeOf(session.random);
      if (affinity === slot) return false;
      const access = authorized.caller;
      peers.pass(request, response, { slot: affinity, owner, access, body: envelope.bytes, away: here });
      return true;
    },
    passesStream(request, response, { session: { random, owner }, caller }, here) {
      const affinity = isAlone(request) ? slot : homeOf(random);
      if (affinity === slot) return false;
      peers.pass(request, response, { slot: affinity, owner, access: caller, body: undefined, away: here });
      return true;
    },
  };
}

/** The cancellation with nothing but the id of its call; undefined = it names none. */
function cancelOf(envelope: Envelope, maxIdBytes: number): Buffer | undefined {
  const { bytes } = envelope;
  const id = paramSpan(envelope, 'requestId');
  if (id.at < 0 || id.end - id.at > maxIdBytes) return undefined;
  const cancel = Buffer.from(`{"requestId":${bytes.toString('utf8', id.at, id.end)}}`);
  return notificationFrame('notifications/cancelled', cancel);
}
