/**
 * resources/subscribe and resources/unsubscribe of a session. `updates.ts` sends updates.
 * Guarantees: a shared server gets one subscription, whatever the number of sessions, which ends with the last one; a
 * subscription that the server refuses is not stored; a session at its limits is refused before the server gets a
 * request; a session's subscriptions survive a restart of the hub.
 */
import type { ResourceRoute } from '../catalog/route.ts';
import { isRefusal, type Outcome, Refusal } from '../model/outcome.ts';
import type { CallParams } from '../protocol/message.ts';
import { scanCallParams } from '../protocol/scan.ts';
import type { PreferencesLimit } from '../session/preferences.ts';
import type { Session } from '../session/sessions.ts';
import type { Call, Reply } from './call.ts';
import type { Dispatch } from './dispatch.ts';
import type { PipelineParts } from './pipeline-parts.ts';
import { notFound, type ResourceNames, withRoute } from './resource.ts';

const DONE: Reply = { kind: 'result', json: Buffer.from('{}') };

export type Subscribe = (call: Call) => Outcome<Reply> | Promise<Outcome<Reply>>;

export function createSubscribe(
  send: Dispatch,
  names: ResourceNames,
  parts: Pick<PipelineParts, 'preferences' | 'registry' | 'sessions'>,
): Subscribe {
  const { preferences, registry, sessions } = parts;

  /** A server that asks its users has a connection for each session, and each subscribes for itself. */
  const isShared = (call: Call, server: string): boolean =>
    !call.snapshot.servers.some(({ slug, interactive }) => slug === server && interactive);

  function subscribe(call: Call, session: Session, params: CallParams, route: ResourceRoute): ReturnType<Subscribe> {
    const { server, native: uri } = route;
    const subscription = { server, uri, named: params.name };
    // Before the request to the server, so that a refusal leaves nothing there.
    const tooMany = preferences.exceededLimit(session, subscription);
    if (tooMany) return tooMuch(tooMany);
    const shared = isShared(call, server);
    const note = (): Outcome<Reply> => {
      const limit = sessions.hasEnded(session.random) ? 'ended' : preferences.subscribe(session, subscription);
      if (limit === undefined) return DONE;
      // The server has added a subscription of a caller that may not have it, or has disconnected.
      if (shared) registry.preferencesChanged(server);
      return limit === 'ended' ? new Refusal('session-ended') : tooMuch(limit);
    };
    if (shared && preferences.isSubscribed(server, uri)) return note();
    return after(send(call, { params, target: route }), () => {
      if (shared) registry.subscribed(server, uri, true);
      return note();
    });
  }

  function unsubscribe(call: Call, session: Session, params: CallParams, route: ResourceRoute): ReturnType<Subscribe> {
    const { server, native: uri } = route;
    preferences.unsubscribe(session.random, server, uri);
    const shared = isShared(call, server);
    if (shared && preferences.isSubscribed(server, uri)) return DONE;
    if (shared) registry.subscribed(server, uri, false);
    return send(call, { params, target: route });
  }

  return function answer(call) {
    const { envelope, session } = call;
    const params = scanCallParams(envelope, 'uri');
    if (isRefusal(params)) return params;
    if (!session) return new Refusal('invalid-request', `${envelope.method} needs a session: send initialize first.`);
    return withRoute(names.resource(params.name, call), call, (route) => {
      if (!route) return notFound(params.name);
      return envelope.method === 'resources/subscribe'
        ? subscribe(call, session, params, route)
        : unsubscribe(call, session, params, route);
    });
  };
}

function after(
  outcome: Outcome<Reply> | Promise<Outcome<Reply>>,
  then: () => Outcome<Reply>,
): Outcome<Reply> | Promise<Outcome<Reply>> {
  const good = (reply: Outcome<Reply>) => (!isRefusal(reply) && reply.kind === 'result' ? then() : reply);
  return outcome instanceof Promise ? outcome.then(good) : good(outcome);
}

/** Returns the refusal for a session or key with as many subscriptions as `limit` allows. */
export function tooMuch(limit: PreferencesLimit): Refusal {
  const whose = limit === 'preferencesBytesPerKey' ? 'The sessions of this key have' : 'This session has';
  return new Refusal('overloaded', `${whose} as many subscriptions as ${limit} allows.`, { setting: limit });
}
