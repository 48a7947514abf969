/**
 * What the everything server's parts share: who is connected, and what the parts may use of one request.
 * Owns: the set of connected sessions of one process, so that a change of the watched resource reaches every
 * subscriber.
 * Does not: speak any transport (`everything-http.ts`, `everything-server.ts`, `modern-http.ts`).
 */
import type { Server } from '@modelcontextprotocol/sdk/server/index.js';
import type { RequestHandlerExtra } from '@modelcontextprotocol/sdk/shared/protocol.js';
import type { LoggingLevel, ServerNotification, ServerRequest } from '@modelcontextprotocol/sdk/types.js';

/** Of one request: what the parts use of the SDK's, so that the server of the other era can give the same. */
export type Extra = Pick<
  RequestHandlerExtra<ServerRequest, ServerNotification>,
  'signal' | '_meta' | 'sendRequest' | 'sendNotification' | 'closeSSEStream'
>;

/** One client's relation to the server; in the stateless era one request, or one stream that listens. */
export interface Session {
  readonly server: Pick<
    Server,
    'getClientCapabilities' | 'sendToolListChanged' | 'sendPromptListChanged' | 'sendResourceUpdated'
  >;
  /** Least severe level that its client wants; `info` until it says otherwise. */
  level: LoggingLevel;
  /** URIs that its client has subscribed to; bounded by: `MAX_SUBSCRIPTIONS`. */
  readonly subscriptions: Set<string>;
}

/** All sessions of a process. */
export interface World {
  /** bounded by: the transport, which ends the oldest session (`everything-http.ts`). */
  readonly sessions: Set<Session>;
  /** How often the watched resource has changed. */
  changes: number;
  /** Names that stand in the lists for a while. */
  readonly more: { tool?: string | undefined; prompt?: string | undefined };
}

export const MAX_SUBSCRIPTIONS = 100;
export const WATCHED_URI = 'test://watched-resource';

/** A red pixel, PNG. */
export const PNG = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC';

const LEVELS: readonly LoggingLevel[] = [
  'debug',
  'info',
  'notice',
  'warning',
  'error',
  'critical',
  'alert',
  'emergency',
];

export function createWorld(): World {
  return { sessions: new Set(), changes: 0, more: {} };
}

/** Says `data` on the stream of the request that `extra` belongs to, if the session's level lets it through. */
export async function log(session: Session, extra: Extra, level: LoggingLevel, data: string): Promise<void> {
  if (LEVELS.indexOf(level) < LEVELS.indexOf(session.level)) return;
  await extra.sendNotification({
    method: 'notifications/message',
    params: { level, logger: 'everything', data },
  });
}

/** Changes the watched resource and tells who has subscribed to it. */
export async function changeWatched(world: World): Promise<void> {
  world.changes += 1;
  const watchers = [...world.sessions].filter((session) => session.subscriptions.has(WATCHED_URI));
  await Promise.all(watchers.map((session) => session.server.sendResourceUpdated({ uri: WATCHED_URI })));
}

/** Ends early when the request is cancelled. */
export function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((done) => {
    const timer = setTimeout(end, ms);
    signal.addEventListener('abort', end, { once: true });
    function end(): void {
      clearTimeout(timer);
      signal.removeEventListener('abort', end);
      done();
    }
  });
}
