/**
 * The order of a call's steps; each step passes it on or refuses it. Only the request to the server waits. The order
 * matters: authentication precedes admission (limits are per key), admission precedes the catalog (a flood must not
 * cause look-ups). The snapshot is read once, so that a call uses one. Faults become error replies in one place.
 */
import { admit, isOpenTo, viewFor } from '../auth/access.ts';
import { HubError } from '../model/errors.ts';
import { isRefusal, type Outcome, Refusal } from '../model/outcome.ts';
import { LOCAL_PRINCIPAL, shareOf } from '../model/principal.ts';
import type { RequestMeta } from '../protocol/era-2026/request-meta.ts';
import type { Envelope } from '../protocol/message.ts';
import { methodRow } from '../protocol/methods.ts';
import { withObjectParams } from '../protocol/object-params.ts';
import { refuseLongParams } from '../protocol/sizes.ts';
import type { Session } from '../session/sessions.ts';
import type { Call, Caller, Incoming, Reply, RequestContext } from './call.ts';
import { createCancels } from './cancel.ts';
import { createCompletion } from './completion.ts';
import { createDispatch } from './dispatch.ts';
import { dropUnseen } from './drop-unseen.ts';
import { createFirstCatalog } from './first-catalog.ts';
import { createFirstListing } from './first-listing.ts';
import { answerInitialize } from './initialize.ts';
import { type Listening, listen } from './listen.ts';
import { answerList } from './lists.ts';
import type { PipelineParts } from './pipeline-parts.ts';
import { createPromptGet } from './prompt.ts';
import { record } from './record.ts';
import { resolveView } from './resolve-view.ts';
import { createResourceNames, createResourceRead } from './resource.ts';
import { setLevel } from './set-level.ts';
import { answerStateless } from './stateless.ts';
import { createSubscribe } from './subscribe.ts';
import { createSuspendedCalls } from './suspended-calls.ts';
import { createToolCall } from './tool.ts';

/** Refuses a method of a later protocol version, or an unknown one. */
function unknown(method: string): Refusal {
  const name = method.slice(0, 100);
  if (methodRow(method)?.served === 'not-yet')
    return new Refusal('not-served-yet', `${name} is not served by this version of the hub.`);
  return new Refusal('method-not-found', `Unknown method: ${name}`);
}

export interface RequestPipeline {
  /** Answers one message: a value at once, or a promise when a server is asked. Never rejects. */
  answer(incoming: Incoming): Outcome<Reply> | Promise<Outcome<Reply>>;
  /** Returns who the caller is and what it may see: for streams and DELETE, which are not calls. */
  identify(context: RequestContext): Outcome<Caller>;
  findSession(context: RequestContext, caller: Caller): Outcome<Session | undefined>;
  /** Call this before a session gets a stream: removes subscriptions to what its caller may no longer see. */
  dropUnseen(session: Session, caller: Caller): void;
  /** Handles subscriptions/listen: a stream, not a call. */
  listen(envelope: Envelope, requestMeta: RequestMeta, caller: Caller): Outcome<Listening>;
  /** Returns the id of the worker that holds the call which this message continues; undefined for other messages. */
  ownerOf(envelope: Envelope): number | undefined;
}

export function createRequestPipeline(parts: PipelineParts): RequestPipeline {
  const { runtime, snapshots, sessions } = parts;
  const cancels = createCancels(parts);
  const firstCatalog = createFirstCatalog(parts);
  const firstListing = createFirstListing(parts);
  const send = createDispatch(parts);
  const names = createResourceNames(firstCatalog, parts);
  const subscribe = createSubscribe(send, names, parts);
  const routed: ReadonlyMap<string, (call: Call) => Outcome<Reply> | Promise<Outcome<Reply>>> = new Map([
    ['tools/call', createToolCall(send, firstListing, parts.limits)],
    ['prompts/get', createPromptGet(send, firstListing)],
    ['resources/read', createResourceRead(send, names)],
    ['completion/complete', createCompletion(send, firstListing, names, parts.catalog)],
    ['resources/subscribe', subscribe],
    ['resources/unsubscribe', subscribe],
    ['logging/setLevel', (call: Call) => setLevel(call, parts)],
  ]);
  const suspendedCalls = createSuspendedCalls(parts);
  let calls = 0;

  function identify(context: RequestContext): Outcome<Caller> {
    const world = snapshots.current;
    // Before the first snapshot no key is known; a 401 now would cause clients to look for OAuth.
    if (world.revision === 0 && !context.local) return new Refusal('starting', undefined, { retryAfterMs: 1000 });
    const principal = context.local
      ? LOCAL_PRINCIPAL
      : admit({
          open: isOpenTo(context.target, world.groups, context),
          hasKey: context.authorization !== undefined,
          check: () => parts.keys.check(context.authorization, context.address),
        });
    if (isRefusal(principal)) return principal;
    const viewName = viewFor(context.target, principal, world.groups);
    if (isRefusal(viewName)) return viewName;
    return { principal, owner: shareOf(principal, context.address), viewName, world };
  }

  /**
   * Tells whether the earlier identification is valid: configuration and keys are the same, and the key has not
   * expired.
   */
  function isCurrent({ world, principal: { expiresAtMs } }: Caller): boolean {
    return world === snapshots.current && (expiresAtMs === undefined || runtime.clock.wallMs() < expiresAtMs);
  }

  function findSession(context: RequestContext, caller: Caller): Outcome<Session | undefined> {
    return context.sessionId === undefined
      ? undefined
      : sessions.find(context.sessionId, caller.principal, caller.owner);
  }

  function dispatch(call: Call): Outcome<Reply> | Promise<Outcome<Reply>> {
    const { method, kind } = call.envelope;
    if (kind === 'reply') {
      if (call.session) parts.questions.answered(call.session, call.envelope);
      return { kind: 'accepted' };
    }
    if (kind === 'notification') {
      if (method === 'notifications/cancelled') cancels.cancel(call);
      else if (method === 'notifications/roots/list_changed' && call.session)
        parts.registry.rootsChanged(call.session.random);
      return { kind: 'accepted' };
    }
    const way = routed.get(method);
    if (way) return way(call);
    return answerList(call, firstCatalog, parts) ?? answerInitialize(call, parts) ?? unknown(method);
  }

  /** Refuses a message that becomes no call, and so has no record. */
  function refuse({ back }: Incoming, refusal: Refusal): Refusal {
    back.refused?.(refusal);
    return refusal;
  }

  function answer(incoming: Incoming): Outcome<Reply> | Promise<Outcome<Reply>> {
    const startMs = runtime.clock.nowMs();
    const caller = incoming.caller && isCurrent(incoming.caller) ? incoming.caller : identify(incoming.context);
    if (isRefusal(caller)) return refuse(incoming, caller);
    const envelope = withObjectParams(incoming.envelope);
    if (isRefusal(envelope)) return refuse(incoming, envelope);
    const tooLong = refuseLongParams(envelope, parts.limits);
    if (tooLong) return refuse(incoming, tooLong);
    incoming.onCaller?.(caller);
    // An initialize with an old id starts a new session: clients send it after a restart. The stateless era has no
    // sessions.
    const isSessionless = incoming.requestMeta !== undefined || incoming.envelope.method === 'initialize';
    const session = isSessionless ? undefined : findSession(incoming.context, caller);
    if (isRefusal(session)) return refuse(incoming, session);
    if (session) incoming.onSession?.(session);
    // A reply has no method, and its envelope an empty one, which a request may have too.
    const method = envelope.kind === 'reply' ? undefined : envelope.method;
    const permit = parts.admission.admit(caller.principal, method, caller.owner);
    if (isRefusal(permit)) return refuse(incoming, permit);
    const view = resolveView(parts.catalog, caller.viewName);
    if (view === undefined) {
      permit[Symbol.dispose]();
      return refuse(incoming, new Refusal('not-found'));
    }
    const open = runtime.openWork.add('call', caller);
    if (isRefusal(open)) {
      permit[Symbol.dispose]();
      return refuse(incoming, open);
    }
    calls += 1;
    const call: Call = {
      open,
      requestId: `${parts.requestIdPrefix}${calls.toString(36)}`,
      envelope,
      session,
      view,
      incoming,
      principal: caller.principal,
      owner: caller.owner,
      viewName: caller.viewName,
      world: caller.world,
    };
    const outcome = attempt(() =>
      incoming.requestMeta ? answerStateless(call, dispatch, suspendedCalls) : dispatch(call),
    );
    if (!(outcome instanceof Promise)) {
      permit[Symbol.dispose]();
      open.close();
      record(runtime, call, outcome, startMs);
      return outcome;
    }
    return new Promise((resolve) => {
      let isOver = false;
      const slot = cancels.remember(call);
      const finish = (late: Outcome<Reply>): void => {
        if (isOver) return;
        isOver = true;
        cancels.forget(slot);
        permit[Symbol.dispose]();
        open.close();
        record(runtime, call, late, startMs);
        resolve(late);
      };
      // Wherever the call waits: its caller gets no result any more.
      open.onEnd(finish);
      // With a session the client may return for the answer: a disconnect is not a cancel (2025 era).
      if (!session || incoming.isLostWhenGone)
        incoming.onGone(() => runtime.openWork.end(open, new Refusal('client-gone')));
      outcome.then(finish, (fault) => finish(refusalFrom(fault)));
    });
  }

  function attempt(work: () => Outcome<Reply> | Promise<Outcome<Reply>>): Outcome<Reply> | Promise<Outcome<Reply>> {
    try {
      return work();
    } catch (fault) {
      return refusalFrom(fault);
    }
  }

  /** The only place where a fault becomes an answer. Causes go to the log only. */
  function refusalFrom(fault: unknown): Refusal {
    if (fault instanceof HubError) return new Refusal(fault.code, fault.message, fault.detail);
    runtime.bus.publish({ type: 'task-faulted', task: 'call', fault });
    return new Refusal('internal');
  }

  return {
    answer,
    identify,
    findSession,
    dropUnseen: (session, caller) => dropUnseen(session, caller, parts),
    listen: (envelope, requestMeta, caller) => listen(envelope, requestMeta, caller, parts),
    ownerOf: (envelope) => suspendedCalls.ownerOf(envelope),
  };
}
