/**
 * Who sends a message, and in which session.
 * Guarantees: a caller that was identified by its headers is identified again when the configuration or the keys have
 * changed since, or its key has expired; a session is found only for the user to whom it was issued.
 */
import { admit, isOpenTo, viewFor } from '../auth/access.ts';
import { isRefusal, type Outcome, Refusal } from '../model/outcome.ts';
import { LOCAL_PRINCIPAL, shareOf } from '../model/principal.ts';
import type { Session } from '../session/sessions.ts';
import type { Caller, Incoming, RequestContext } from './call.ts';
import type { PipelineParts } from './pipeline-parts.ts';

export interface Identity {
  /** Returns who the caller is and what it may see. */
  identify(context: RequestContext): Outcome<Caller>;
  /** Returns the caller of a message, as its headers were identified before if that is still valid. */
  callerOf(incoming: Incoming): Outcome<Caller>;
  /** Returns the session that the request names; undefined when it names none. */
  findSession(context: RequestContext, caller: Caller): Outcome<Session | undefined>;
  /** Returns the session in which a message is handled; undefined when it needs none. */
  sessionOf(incoming: Incoming, caller: Caller): Outcome<Session | undefined>;
}

export function createIdentity({
  runtime,
  snapshots,
  keys,
  sessions,
}: Pick<PipelineParts, 'runtime' | 'snapshots' | 'keys' | 'sessions'>): Identity {
  function identify(context: RequestContext): Outcome<Caller> {
    const snapshot = snapshots.current;
    // Before the first snapshot no key is known; a 401 now would cause clients to look for OAuth.
    if (snapshot.revision === 0 && !context.local) return new Refusal('starting', undefined, { retryAfterMs: 1000 });
    const principal = context.local
      ? LOCAL_PRINCIPAL
      : admit({
          open: isOpenTo(context.target, snapshot.groups, context),
          hasKey: context.authorization !== undefined,
          check: () => keys.check(context.authorization, context.address),
        });
    if (isRefusal(principal)) return principal;
    const viewName = viewFor(context.target, principal, snapshot.groups);
    if (isRefusal(viewName)) return viewName;
    return { principal, owner: shareOf(principal, context.address), viewName, snapshot };
  }

  function isCurrent({ snapshot, principal: { expiresAtMs } }: Caller): boolean {
    return snapshot === snapshots.current && (expiresAtMs === undefined || runtime.clock.wallMs() < expiresAtMs);
  }

  function findSession(context: RequestContext, caller: Caller): Outcome<Session | undefined> {
    return context.sessionId === undefined
      ? undefined
      : sessions.find(context.sessionId, caller.principal, caller.owner);
  }

  return {
    identify,
    callerOf: ({ caller, context }) => (caller && isCurrent(caller) ? caller : identify(context)),
    findSession,
    sessionOf({ requestMeta, envelope, context }, caller) {
      // An initialize with an old id starts a new session: clients send it after a restart. The stateless era has no
      // sessions.
      const isSessionless = requestMeta !== undefined || envelope.method === 'initialize';
      return isSessionless ? undefined : findSession(context, caller);
    },
  };
}
