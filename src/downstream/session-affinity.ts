/**
 * Selects the owner worker of a session, where it matters: servers that ask their users have one session connection for
 * each session, and notifications use one GET stream, but a client's connections reach any worker.
 * Guarantees: the owner follows from the session's id, so that every worker knows it; if it is unreachable, the worker
 * handles the request itself; a request is passed on once at most, only for a session of the same caller.
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
  /** Id of this worker. */
  readonly slot: number;
  readonly sessions: Sessions;
  readonly snapshots: SnapshotHolder;
  readonly peers: PeerWorkers;
}

export interface SessionAffinity {
  /** Passes a message to the owner worker; `here` runs when that is unreachable. Returns false when it belongs here. */
  passesMessage(
    request: IncomingMessage,
    response: ServerResponse,
    message: { readonly authorized: Authorized; readonly envelope: Envelope; readonly here: () => void },
  ): boolean;
  /** Does the same for the GET stream. */
  passesStream(
    request: IncomingMessage,
    response: ServerResponse,
    stream: { readonly session: Pick<Session, 'random' | 'owner'>; readonly caller: Caller },
    here: () => void,
  ): boolean;
}

/** Answered from memory, but session connections need them. */
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

  /** Tells whether any server asks its users; looked up once for each snapshot. */
  function isAsking(): boolean {
    if (seen !== snapshots.current) {
      seen = snapshots.current;
      asks = seen.servers.some(({ enabled, interactive }) => enabled && interactive);
    }
    return asks;
  }

  function isAlone(request: IncomingMessage): boolean {
    return limits.workers <= 1 || isHop(request);
  }

  /** Returns 1 to the number of workers. */
  function homeOf(random: string): number {
    return (Number.parseInt(random.slice(0, 8), 16) % limits.workers) + 1;
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
        // The call may be in any worker; cancels for unknown calls do no harm.
        const body = cancelOf(envelope, limits.idBytes);
        for (let other = 1; body && other <= limits.workers; other += 1)
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

/** Returns the cancel with only the id of its call; undefined when it has none. */
function cancelOf(envelope: Envelope, maxIdBytes: number): Buffer | undefined {
  const { bytes } = envelope;
  const id = paramSpan(envelope, 'requestId');
  if (id.at < 0 || id.end - id.at > maxIdBytes) return undefined;
  const cancel = Buffer.from(`{"requestId":${bytes.toString('utf8', id.at, id.end)}}`);
  return notificationFrame('notifications/cancelled', cancel);
}
