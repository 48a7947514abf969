/**
 * What servers say outside of any call, on its way to the sessions that want to hear it: changed resources, log lines, finished elicitations.
 * Promises: an update of a resource reaches the sessions that are subscribed to it and no other, under the name by which each knows it; a log
 * line passes the session's level; nothing of a shared server goes to everybody.
 * Does not: follow servers' lists (`catalog/`) or keep subscriptions (`session/notes.ts`).
 */
import { viewKey } from '../auth/access.ts';
import type { Access } from '../kernel/open-work.ts';
import { passesLevel } from '../protocol/log-level.ts';
import { memberSpan, stringAt } from '../protocol/scan.ts';
import { notificationFrame, replaceSpans } from '../protocol/write.ts';
import { isFleeting } from '../session/fleeting.ts';
import type { Whose } from '../session/notes.ts';
import type { Session } from '../session/sessions.ts';
import { sealedPath } from '../session/statement.ts';
import type { Everybody, LaneOwner } from '../upstream/talk.ts';
import type { Caller } from './call.ts';
import type { LineRooms } from './rooms.ts';

const UPDATED = 'notifications/resources/updated';
const MESSAGE = 'notifications/message';
/** A longer URI is nobody's subscription (`uriBytes`). */
const MAX_URI_BYTES = 8192;

type UpdateRooms = Pick<LineRooms, 'sessions' | 'notes'>;

/**
 * All sessions together, as the servers' shared links see them. Of a server that asks its users each session's lane says what the session
 * wants; only who listens without a session has no lane.
 */
export function everybodyOf(rooms: UpdateRooms & Pick<LineRooms, 'snapshots'>): Everybody {
  const { sessions, notes, snapshots } = rooms;
  const whose = (server: string): Whose =>
    snapshots.current.servers.some(({ slug, interactive }) => slug === server && interactive) ? 'fleeting' : 'all';
  return {
    logLevel: () => notes.mostVerbose(),
    subscriptions: (server) => notes.urisOf(server, whose(server)),
    // An update goes to whoever is subscribed; anything else belongs to nobody for certain, and is dropped.
    notice(server, method, params) {
      const uri = method === UPDATED ? uriIn(params) : undefined;
      if (uri === undefined) return;
      // The same bytes for all who know it by the same name: queues of readers that do not read share them.
      const frames = new Map<string, Buffer>(); // bounded by: the names of one resource
      for (const { id, named } of notes.subscribers(server, uri, whose(server))) {
        const frame = frames.get(named) ?? notificationFrame(method, renamed(params, uri, named));
        frames.set(named, frame);
        sessions.sendTo(id, frame);
      }
    },
  };
}

/** The session as the lanes of servers that ask their users see it. */
export function laneOwnerOf(
  session: Session,
  access: Access,
  rooms: UpdateRooms & Pick<LineRooms, 'questions'>,
): LaneOwner {
  const { sessions, notes, questions } = rooms;
  const { random: id, capabilityBits } = session;
  return {
    ...{ id, access, share: session.owner },
    capabilityBits,
    logLevel: () => notes.level(id),
    subscriptions: (server) => notes.subscriptions(id).flatMap((one) => (one.server === server ? [one.uri] : [])),
    isHeard: () => sessions.hears(id),
    notify(method, params) {
      if (method === MESSAGE && !passesLevel(params, notes.level(id))) return false;
      const uri = method === UPDATED ? uriIn(params) : undefined;
      const wish = uri === undefined ? undefined : notes.subscriptions(id).find((one) => one.uri === uri);
      const text = uri === undefined || wish === undefined ? params : renamed(params, uri, wish.named);
      return sessions.sendTo(id, notificationFrame(method, text));
    },
    ask: (asking) => questions.ask({ ...asking, session, send: (frame) => sessions.sendTo(id, frame) }),
  };
}

/** To whoever listens in the stateless era as this user, with this key and at this address, in this hub. False = nobody does. */
export function tellListening(
  { principal, viewName }: Pick<Caller, 'principal' | 'viewName'>,
  sessions: LineRooms['sessions'],
  frame: Buffer,
): boolean {
  const { userId, family } = principal;
  const path = sealedPath(viewKey(viewName));
  const isTheirs = (one: Session) => one.userId === userId && one.family === family && one.path === path;
  return sessions.broadcast((one) => isFleeting(one.random) && isTheirs(one), frame) > 0;
}

function uriIn(params: Buffer): string | undefined {
  return stringAt(params, memberSpan(params, { at: 0, end: params.length }, 'uri'), MAX_URI_BYTES);
}

function renamed(params: Buffer, uri: string, named: string): Buffer {
  if (named === uri) return params;
  const span = memberSpan(params, { at: 0, end: params.length }, 'uri');
  return replaceSpans(params, [{ ...span, with: Buffer.from(JSON.stringify(named)) }]);
}
