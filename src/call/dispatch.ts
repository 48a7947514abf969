/**
 * Sends one client request to one server, whatever its method: deadline, cancel, progress, unchanged bytes.
 * Guarantees: the client's progress token and id come back unchanged; a server's own error up to `ERROR_BYTES` is
 * passed on unchanged, except for one about capabilities of its client (`missing-capability.ts`). All waits are in
 * `registry.call`.
 */
import type { Target } from '../catalog/route.ts';
import { isRefusal, type Outcome, Refusal } from '../model/outcome.ts';
import type { BackChannel } from '../protocol/back-channel.ts';
import { passesLevel } from '../protocol/log-level.ts';
import type { CallParams } from '../protocol/message.ts';
import { shortenedError } from '../protocol/shortened-error.ts';
import { callParamsFor } from '../protocol/write.ts';
import type { EndReason } from '../runtime/deadline.ts';
import type { UpstreamReply } from '../upstream/call.ts';
import { labelUrlError } from '../upstream/interactive/question.ts';
import type { Call, Reply } from './call.ts';
import { answerMissingCapability } from './missing-capability.ts';
import type { PipelineParts } from './pipeline-parts.ts';
import { connectionOwnerOf } from './updates.ts';

export interface DispatchTarget {
  readonly params: CallParams;
  readonly target: Target;
  /** Native name of the tool, for its own times and the record; undefined for other methods. */
  readonly tool?: string;
  /** Builds the client's result from the server's; undefined when they are the same. */
  readonly shape?: ((json: Buffer) => Buffer) | undefined;
}

export type Dispatch = (call: Call, routed: DispatchTarget) => Outcome<Reply> | Promise<Outcome<Reply>>;

export function createDispatch(
  parts: Pick<PipelineParts, 'runtime' | 'limits' | 'registry' | 'preferences' | 'sessions' | 'questions'>,
): Dispatch {
  const { limits, registry } = parts;

  return function send(call, { params, target, tool, shape }) {
    const { envelope, incoming, session, connectionOwner, open } = call;
    if (open.ended) return open.ended;
    open.uses(target.server, tool);
    const budget = registry.startBudget(target.server, tool);
    open.onEnd((why) => budget.deadline.end(endReason(why)));
    // A suspended call outlives its first exchange.
    if (connectionOwner) incoming.onGone(() => budget.deadline.end('client-gone'));
    const back = new CallBack(incoming.back, params.progressToken, levelOf(call, parts));
    // A name that is the same on both sides keeps its spelling.
    const nativeJson = params.name === target.native ? undefined : target.nativeJson;
    const finish = (answer: Outcome<UpstreamReply>): Outcome<Reply> => {
      budget[Symbol.dispose]();
      if (isRefusal(answer)) return withTool(answer, tool);
      const note = { server: target.server, tool };
      if (answer.kind === 'error') {
        const name = registry.status(target.server)?.name ?? target.server;
        const about = { server: target.server, name, maxBytes: limits.questionBytes };
        const error = labelUrlError(shortenedError(answer.json, { at: 0, end: answer.json.length }), about);
        if (isRefusal(error)) return error;
        return answerMissingCapability(error, incoming.requestMeta, note) ?? { kind: 'error', json: error, note };
      }
      return { kind: 'result', json: shape ? shape(answer.json) : answer.json, note };
    };
    let outcome: Outcome<UpstreamReply> | Promise<Outcome<UpstreamReply>>;
    try {
      outcome = registry.call(target.server, {
        method: envelope.method,
        tool,
        params: (token) =>
          callParamsFor(
            envelope.bytes,
            envelope.params,
            params,
            nativeJson,
            back.progressToken === undefined ? undefined : token,
          ),
        budget,
        back,
        sessionConnection: session
          ? () => connectionOwnerOf(session, call, parts)
          : connectionOwner && (() => connectionOwner(target.server)),
        fairKey: call.owner,
        owner: call.requestId,
      });
    } catch (fault) {
      budget[Symbol.dispose]();
      throw fault;
    }
    if (!(outcome instanceof Promise)) return finish(outcome);
    return outcome.then(finish, (fault) => {
      budget[Symbol.dispose]();
      throw fault;
    });
  };
}

/** Adds the called tool for the record. */
function withTool(refusal: Refusal, tool: string | undefined): Refusal {
  if (tool === undefined) return refusal;
  const { code, message, detail } = refusal;
  return new Refusal(code, message, { ...detail, operator: { ...detail.operator, tool } });
}

/** Returns the lowest level of log lines that the caller wants; `none` for no lines. */
function levelOf(
  { session, incoming }: Call,
  { preferences }: Pick<PipelineParts, 'preferences'>,
): () => string | undefined {
  const { requestMeta } = incoming;
  if (requestMeta) return () => requestMeta.logLevel ?? 'none';
  return () => session && preferences.level(session.random);
}

/** Returns the reason that servers get for the end of a call: cancelled, disconnected, or access lost. */
function endReason({ code }: Refusal): EndReason {
  return code === 'cancelled' || code === 'client-gone' ? code : 'revoked';
}

/** The back channel of the exchange, with this call's own token and the preferences of its session. */
class CallBack implements BackChannel {
  readonly progressToken: string | undefined;
  readonly #back: BackChannel;
  readonly #level: () => string | undefined;
  readonly ask: BackChannel['ask'];

  constructor(back: BackChannel, progressToken: string | undefined, level: () => string | undefined) {
    this.#back = back;
    this.progressToken = progressToken;
    this.#level = level;
    this.ask = back.ask?.bind(back);
  }

  notify(method: string, params: Buffer): void {
    if (method === 'notifications/message') {
      const level = this.#level();
      if (level === 'none' || !passesLevel(params, level)) return;
    }
    this.#back.notify(method, params);
  }
}
