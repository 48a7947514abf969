/**
 * Server requests to users (elicitation, sampling) on one connection. Each goes to the user of its call over the call's
 * back channel, and its answer returns under the server's own id.
 * Guarantees: a request ends with its call, by `questionMs`, or when the server cancels it; while it is open, the total
 * time and the silence limit of its call do not run; only a few are open at once; on a shared link no user is asked.
 */

import type { Limits } from '../../config/limits.ts';
import { isRefusal, type Outcome, type Refusal } from '../../model/outcome.ts';
import type { Answer, Asking } from '../../protocol/back-channel.ts';
import { filledAnswer } from '../../protocol/empty-result.ts';
import { ABSENT, type Envelope } from '../../protocol/message.ts';
import { memberSpan } from '../../protocol/scan.ts';
import { LARGE_BYTES } from '../../protocol/scan-steps.ts';
import { errorFrame, rawErrorFrame, resultFrame } from '../../protocol/write.ts';
import { CappedMap } from '../../runtime/capped.ts';
import type { Deadline } from '../../runtime/deadline.ts';
import type { Runtime } from '../../runtime/runtime.ts';
import type { ClientContext } from '../client-context.ts';
import { labelQuestion } from '../interactive/question.ts';
import type { Correlator } from './correlator.ts';
import type { PendingRequest } from './pending-request.ts';

const AT_ONCE = 64;
const QUESTIONS: ReadonlySet<string> = new Set(['roots/list', 'sampling/createMessage', 'elicitation/create']);

export interface ClientQuestionsParts {
  readonly runtime: Runtime;
  readonly limits: Limits;
  readonly server: string;
  /** As configured; precedes the text of the request. */
  readonly name: string;
  readonly clientContext: ClientContext;
  /** Returns the call that a request belongs to: that of the exchange, else the newest whose user can be asked. */
  readonly requestOf: (exchange: number | undefined) => PendingRequest | undefined;
  readonly correlator: Pick<Correlator, 'questionKey' | 'aside'>;
}

export class ClientQuestions {
  readonly #parts: ClientQuestionsParts;
  readonly #open: CappedMap<string, Deadline>;

  constructor(parts: ClientQuestionsParts) {
    this.#parts = parts;
    this.#open = new CappedMap<string, Deadline>('upstream.questions', AT_ONCE, 'refuse', parts.runtime.ceilings);
  }

  /** Takes a request; returns false when no user can be asked. */
  take({ bytes, id, method, params }: Envelope, exchange: number | undefined): boolean {
    const { clientContext, runtime, limits, server, name, requestOf, correlator } = this.#parts;
    if (!QUESTIONS.has(method) || !clientContext.ask) return false;
    const own = params.at < 0 ? undefined : bytes.subarray(params.at, params.end);
    const shown = labelQuestion(method, own, { server, name, maxBytes: limits.questionBytes });
    const idRaw = Buffer.from(bytes.subarray(id.at, id.end));
    if (isRefusal(shown)) {
      runtime.bus.publish({ type: 'question-refused', server, method, reason: shown.message });
      correlator.aside(errorFrame(idRaw, { code: -32602, message: shown.message }));
      return true;
    }
    const pending = requestOf(exchange);
    const deadline = runtime.deadline(limits.askUserMs);
    const rawId = idRaw.toString('latin1');
    if (this.#open.has(rawId) || !this.#open.set(rawId, deadline)) {
      deadline[Symbol.dispose]();
      correlator.aside(errorFrame(idRaw, { code: -32000, message: 'Too many questions are open on this connection.' }));
      return true;
    }
    const release = pending?.hold(limits.askUserMs);
    const forget = pending?.plan.budget.deadline.onEnd((reason) => deadline.end(reason));
    const asking: Asking = {
      method,
      params: shown,
      key: correlator.questionKey(rawId),
      deadline,
      owner: pending?.plan.owner ?? server,
    };
    const ask = pending?.plan.back.ask?.bind(pending.plan.back) ?? clientContext.ask.bind(clientContext);
    void ask(asking).then((answer) => {
      this.#open.delete(rawId);
      deadline[Symbol.dispose]();
      forget?.();
      release?.();
      correlator.aside(frameOf(idRaw, method, answer));
    });
    return true;
  }

  /** Ends a request that the server has cancelled. */
  takenBack({ bytes, params }: Envelope): void {
    // A cancellation of that size is not searched.
    const isRead = params.at >= 0 && bytes.length < LARGE_BYTES;
    const id = isRead ? memberSpan(bytes, params, 'requestId') : ABSENT;
    if (id.at >= 0) this.#open.get(bytes.toString('latin1', id.at, id.end))?.end('cancelled');
  }

  [Symbol.dispose](): void {
    for (const deadline of [...this.#open.values()]) deadline.end('stopped');
    this.#open[Symbol.dispose]();
  }
}

function frameOf(idRaw: Buffer, method: string, answer: Outcome<Answer>): Buffer {
  if (isRefusal(answer)) return errorFrame(idRaw, { code: codeOf(answer), message: answer.message });
  return answer.kind === 'result'
    ? resultFrame(idRaw, filledAnswer(method, answer.json))
    : rawErrorFrame(idRaw, answer.json);
}

function codeOf(refusal: Refusal): number {
  return refusal.code === 'client-cannot-be-asked' ? -32601 : -32000;
}
