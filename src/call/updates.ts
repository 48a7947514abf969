/**
 * Passes notifications of servers that belong to no call to sessions: changed resources, log lines, finished
 * elicitations.
 * Guarantees: an update reaches only sessions subscribed to the resource, under the name that each uses; a log line
 * must pass the session's level; nothing of a shared server is sent to everybody.
 */
import { viewKey } from '../auth/access.ts';
import type { GroupSpec } from '../model/snapshot.ts';
import { jsonBytes } from '../protocol/json-text.ts';
import { passesLevel } from '../protocol/log-level.ts';
import { memberSpan, stringAt } from '../protocol/scan.ts';
import { soleMember } from '../protocol/sole-member.ts';
import { notificationFrame, replaceSpans } from '../protocol/write.ts';
import { CappedMap } from '../runtime/capped.ts';
import type { Access } from '../runtime/open-item.ts';
import { isEphemeral } from '../session/ephemeral.ts';
import type { SessionKind } from '../session/preferences.ts';
import { sealedPath } from '../session/session-token.ts';
import type { Session } from '../session/sessions.ts';
import type { ConnectionOwner, Everybody } from '../upstream/client-context.ts';
import type { Caller } from './call.ts';
import type { PipelineParts } from './pipeline-parts.ts';
import { createUpdatePace, type UpdatePace } from './update-pace.ts';

const UPDATED = 'notifications/resources/updated';
const MESSAGE = 'notifications/message';
/** No subscription has a longer URI (`uriBytes`). */
const MAX_URI_BYTES = 8192;

type UpdateParts = Pick<PipelineParts, 'sessions' | 'preferences'>;

/**
 * All sessions together, as the servers' shared links use them. For a server that asks its users, each session
 * connection has the subscriptions of its session; only clients without a session have none.
 */
export function everybodyOf(parts: UpdateParts & Pick<PipelineParts, 'runtime' | 'limits' | 'snapshots'>): Everybody {
  const { runtime, limits, sessions, preferences, snapshots } = parts;
  const max = () => limits.servers;
  const paces = new CappedMap<string, UpdatePace>('call.update-paces', max, 'drop-oldest', runtime.ceilings);
  const whose = (server: string): SessionKind =>
    snapshots.current.servers.some(({ slug, interactive }) => slug === server && interactive) ? 'ephemeral' : 'all';
  function paceOf(server: string): UpdatePace {
    const pace = paces.get(server) ?? createUpdatePace({ runtime, limits });
    paces.set(server, pace);
    return pace;
  }

  return {
    logLevel: (server) => preferences.mostVerbose((path) => holdsServer(path, server, snapshots.current.groups)),
    subscriptions: (server) => preferences.subscribedUris(server, whose(server)),
    // An update goes to its subscribers; other notifications have no certain receiver and are dropped.
    notice(server, method, params) {
      const uri = method === UPDATED ? uriIn(params) : undefined;
      if (uri === undefined) return;
      const look = () => preferences.subscribers(server, uri, whose(server));
      const found = look();
      let isNow = true;
      paceOf(server).offer(uri, found.length, () => {
        const subscribers = isNow ? found : look();
        const byName = Map.groupBy(subscribers, ({ named }) => named);
        // All who use the same name get the same bytes: the queues of slow readers share them.
        for (const [named, readers] of byName)
          sessions.sendToAll(
            readers.map(({ id }) => id),
            notificationFrame(method, renamed(params, uri, named)),
          );
        return subscribers.length;
      });
      isNow = false;
    },
  };
}

/**
 * Tells whether sessions of this path (`viewKey`) see the server; true for an unknown path, or one that is too long.
 */
function holdsServer(path: string, server: string, groups: readonly GroupSpec[]): boolean {
  const [kind, names = ''] = path.split(':');
  if (kind === 'server') return names === server;
  if (kind !== 'group' && kind !== 'groups') return true;
  const slugs = names.split(',');
  return groups.some(({ slug, servers }) => slugs.includes(slug) && (servers === '*' || servers.includes(server)));
}

/** Returns the session as its connections to servers that ask their users use it. */
export function connectionOwnerOf(
  session: Session,
  access: Access,
  parts: UpdateParts & Pick<PipelineParts, 'questions'>,
): ConnectionOwner {
  const { sessions, preferences, questions } = parts;
  const { random: id, capabilityBits } = session;
  return {
    id,
    access,
    share: session.owner,
    capabilityBits,
    logLevel: () => preferences.level(id),
    subscriptions: (server) => preferences.subscriptions(id).flatMap((one) => (one.server === server ? [one.uri] : [])),
    hasStream: () => sessions.hasStream(id),
    notify(server, method, params) {
      if (method === MESSAGE && !passesLevel(params, preferences.level(id))) return false;
      if (method !== UPDATED) return sessions.sendTo(id, notificationFrame(method, params));
      const uri = uriIn(params);
      // A server reports its own resources only, also on a session connection; a part of a resource counts as well.
      const own = preferences.subscriptions(id).filter((one) => one.server === server && uri?.startsWith(one.uri));
      if (uri === undefined || own.length === 0) return false;
      const named = own.find((one) => one.uri === uri)?.named ?? uri;
      return sessions.sendTo(id, notificationFrame(method, renamed(params, uri, named)));
    },
    ask: (asking) => questions.ask({ ...asking, session, send: (frame) => sessions.sendTo(id, frame) }),
  };
}

/** Sends to stateless listeners with this user, key and address in this worker. Returns false when there are none. */
export function notifyListening(
  { principal, viewName }: Pick<Caller, 'principal' | 'viewName'>,
  sessions: PipelineParts['sessions'],
  frame: Buffer,
): boolean {
  const { userId, family } = principal;
  const path = sealedPath(viewKey(viewName));
  const isTheirs = (one: Session) => one.userId === userId && one.family === family && one.path === path;
  return sessions.broadcast((one) => isEphemeral(one.random) && isTheirs(one), frame) > 0;
}

function uriIn(params: Buffer): string | undefined {
  return stringAt(params, soleMember(params, { at: 0, end: params.length }, 'uri'), MAX_URI_BYTES);
}

function renamed(params: Buffer, uri: string, named: string): Buffer {
  if (named === uri) return params;
  const span = memberSpan(params, { at: 0, end: params.length }, 'uri');
  return replaceSpans(params, [{ ...span, with: jsonBytes(named) }]);
}
