/**
 * One client request on its way to one server and back, whatever its method: deadline, cancel, progress, and the bytes as they were.
 * Promises: the client's progress token and id come back unchanged; a server's own error passes as it is up to `ERROR_BYTES`,
 * but for one about what its client lacks (`missing-capability.ts`).
 * Does not: find the server (`tool.ts`, `prompt.ts`, `resource.ts`, `completion.ts`), or wait by itself; `fleet.call` holds every budget.
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
  /** The native name of the tool that is called, for its own times and the record; undefined = something else is asked for. */
  readonly tool?: string;
  /** Makes the client's result from the server's; undefined = it is the same. */
  readonly shape?: ((json: Buffer) => Buffer) | undefined;
}

export type Dispatch = (call: Call, routed: DispatchTarget) => Outcome<Reply> | Promise<Outcome<Reply>>;

export function createDispatch(
  rooms: Pick<PipelineParts, 'runtime' | 'limits' | 'registry' | 'preferences' | 'sessions' | 'questions'>,
): Dispatch {
  const { runtime, limits, registry } = rooms;

  return function send(call, { params, target, tool, shape }) {
    const { envelope, incoming, session, connectionOwner, open } = call;
    if (open.ended) return open.ended;
    open.uses(target.server, tool);
    const times = registry.timesOf(target.server, tool);
    const deadline = runtime.deadline(times.totalMs);
    open.onEnd((why) => deadline.end(endReason(why)));
    // A suspended call outlives the exchange it came with.
    if (connectionOwner) incoming.onGone(() => deadline.end('client-gone'));
    const back = new CallBack(incoming.back, params.progressToken, levelOf(call, rooms));
    // A name that is the same on both sides keeps its spelling.
    const nativeJson = params.name === target.native ? undefined : target.nativeJson;
    const finish = (answer: Outcome<UpstreamReply>): Outcome<Reply> => {
      deadline[Symbol.dispose]();
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
        times,
        deadline,
        back,
        sessionConnection: session
          ? () => connectionOwnerOf(session, call, rooms)
          : connectionOwner && (() => connectionOwner(target.server)),
        fairKey: call.owner,
        owner: call.requestId,
      });
    } catch (fault) {
      deadline[Symbol.dispose]();
      throw fault;
    }
    if (!(outcome instanceof Promise)) return finish(outcome);
    return outcome.then(finish, (fault) => {
      deadline[Symbol.dispose]();
      throw fault;
    });
  };
}

/** Says for the record which tool was called. */
function withTool(refusal: Refusal, tool: string | undefined): Refusal {
  if (tool === undefined) return refusal;
  const { code, message, detail } = refusal;
  return new Refusal(code, message, { ...detail, operator: { ...detail.operator, tool } });
}

/** From which level on the caller wants log lines; `none` = not at all. */
function levelOf(
  { session, incoming }: Call,
  { preferences }: Pick<PipelineParts, 'preferences'>,
): () => string | undefined {
  const { requestMeta } = incoming;
  if (requestMeta) return () => requestMeta.logLevel ?? 'none';
  return () => session && preferences.level(session.random);
}

/** What servers learn of the end of a call: who cancelled or left, or that its caller lost the right. */
function endReason({ code }: Refusal): EndReason {
  return code === 'cancelled' || code === 'client-gone' ? code : 'revoked';
}

/** The exchange's channel with this call's own token, and what its session wants to hear. */
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
