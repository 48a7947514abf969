/**
 * The steps of a message, in their order; each passes it on or refuses it. Only the last one waits, for servers.
 * Guarantees: the snapshot is read once, so that a call uses one; every request leaves one event, refused ones too.
 */
import { isRefusal, type Outcome, Refusal } from '../model/outcome.ts';
import type { RequestMeta } from '../protocol/era-2026/request-meta.ts';
import type { Envelope } from '../protocol/message.ts';
import { withObjectParams } from '../protocol/object-params.ts';
import { refuseLongParams } from '../protocol/sizes.ts';
import type { Session } from '../session/sessions.ts';
import { createAccessLog } from './access-log.ts';
import type { Call, Caller, Incoming, Reply, RequestContext } from './call.ts';
import { createCancels } from './cancel.ts';
import { dropUnseen } from './drop-unseen.ts';
import { createIdentity } from './identity.ts';
import { type Listening, listen } from './listen.ts';
import { createMethods } from './methods.ts';
import type { PipelineParts } from './pipeline-parts.ts';
import { resolveView } from './resolve-view.ts';
import { createRunningCalls } from './running-calls.ts';
import { answerStateless } from './stateless.ts';
import { SuspendedCalls } from './suspended-calls.ts';

export class RequestPipeline {
  readonly #parts: PipelineParts;
  readonly #identity: ReturnType<typeof createIdentity>;
  readonly #accessLog: ReturnType<typeof createAccessLog>;
  readonly #runningCalls: ReturnType<typeof createRunningCalls>;
  readonly #suspendedCalls: SuspendedCalls;
  readonly #dispatch: ReturnType<typeof createMethods>;
  #calls = 0;

  constructor(parts: PipelineParts) {
    const cancels = createCancels(parts);
    this.#parts = parts;
    this.#identity = createIdentity(parts);
    this.#accessLog = createAccessLog(parts.runtime);
    this.#runningCalls = createRunningCalls(parts, cancels);
    this.#suspendedCalls = new SuspendedCalls(parts);
    this.#dispatch = createMethods(parts, cancels);
  }

  /**
   * Answers one message: a value at once, or a promise when a server is asked. Never rejects. The access log stands
   * outside of the steps, so that each of their refusals is in it.
   */
  answer(incoming: Incoming): Outcome<Reply> | Promise<Outcome<Reply>> {
    const { runtime } = this.#parts;
    const call = this.#begin(incoming, runtime.clock.nowMs());
    if (isRefusal(call)) return this.#accessLog.refused(incoming, call);
    return this.#runningCalls.run(call, this.#answerInEra, this.#accessLog.answered);
  }

  /** Returns who the caller is and what it may see: for streams and DELETE, which are not calls. */
  identify(context: RequestContext): Outcome<Caller> {
    return this.#identity.identify(context);
  }

  findSession(context: RequestContext, caller: Caller): Outcome<Session | undefined> {
    return this.#identity.findSession(context, caller);
  }

  /** Call this before a session gets a stream: removes subscriptions to what its caller may no longer see. */
  dropUnseen(session: Session, caller: Caller): void {
    dropUnseen(session, caller, this.#parts);
  }

  /** Handles subscriptions/listen: a stream, not a call. */
  listen(envelope: Envelope, requestMeta: RequestMeta, caller: Caller): Outcome<Listening> {
    return listen(envelope, requestMeta, caller, this.#parts);
  }

  /** Returns the id of the worker that holds the call which this message continues; undefined for other messages. */
  ownerOf(envelope: Envelope): number | undefined {
    return this.#suspendedCalls.ownerOf(envelope);
  }

  #begin(incoming: Incoming, startMs: number): Outcome<Call> {
    const { limits, admission, catalog, runtime, requestIdPrefix } = this.#parts;
    // 1. Identify: first, because all limits are per key, and a wrong key learns nothing else.
    const caller = this.#identity.callerOf(incoming);
    if (isRefusal(caller)) return caller;
    // 2. Params: no later step reads more than the limits allow.
    const envelope = withObjectParams(incoming.envelope);
    if (isRefusal(envelope)) return envelope;
    const tooLong = refuseLongParams(envelope, limits);
    if (tooLong) return tooLong;
    incoming.onCaller?.(caller);
    // 3. Session: after the key, because a session belongs to one user.
    const session = this.#identity.sessionOf(incoming, caller);
    if (isRefusal(session)) return session;
    if (session) incoming.onSession?.(session);
    // 4. Admit: before the catalog, because a flood must not cause look-ups. A reply has no method, and its envelope an
    // empty one, which a request may have too.
    const method = envelope.kind === 'reply' ? undefined : envelope.method;
    const permit = admission.admit(caller.principal, method, caller.owner);
    if (isRefusal(permit)) return permit;
    // 5. View: what this caller can see of the servers.
    const view = resolveView(catalog, caller.viewName);
    if (view === undefined) return givingBack(permit, new Refusal('not-found'));
    // 6. Open work: from here on the call ends with its key, and when its client cancels or leaves.
    const open = runtime.openWork.add('call', caller);
    if (isRefusal(open)) return givingBack(permit, open);
    this.#calls += 1;
    const requestId = `${requestIdPrefix}${this.#calls.toString(36)}`;
    const { principal, owner, viewName, snapshot } = caller;
    return {
      startMs,
      permit,
      open,
      requestId,
      envelope,
      session,
      view,
      incoming,
      principal,
      owner,
      viewName,
      snapshot,
    };
  }

  /** One function for all calls: a call must not allocate its own. */
  readonly #answerInEra = (call: Call): Outcome<Reply> | Promise<Outcome<Reply>> => {
    // 7. Era: a stateless call may be suspended while its client is asked, and its results have another form.
    if (call.incoming.requestMeta) return answerStateless(call, this.#dispatch, this.#suspendedCalls);
    // 8. Dispatch: the method decides who answers, the hub or a server.
    return this.#dispatch(call);
  };
}

function givingBack(permit: Disposable, refusal: Refusal): Refusal {
  permit[Symbol.dispose]();
  return refusal;
}
