/**
 * The questions that a server has asked on one connection: each goes to the user of the call that it belongs to, and comes back under the
 * server's own id.
 * Promises: a question ends with its call, by `questionMs`, or when the server takes it back; while it is open its call's total and silence
 * stand still; at most a few are open at once; on a shared link no user is asked.
 * Does not: reach the client (the call's back channel does).
 */

import type { Limits } from '../config/limits.ts';
import { CappedMap } from '../kernel/capped.ts';
import type { Deadline } from '../kernel/deadline.ts';
import type { Kernel } from '../kernel/kernel.ts';
import { isRefusal, type Outcome, type Refusal } from '../kernel/outcome.ts';
import type { Answer, Asking } from '../protocol/back-channel.ts';
import { filledAnswer } from '../protocol/empty-result.ts';
import { ABSENT, type Envelope } from '../protocol/message.ts';
import { memberSpan } from '../protocol/scan.ts';
import { LARGE_BYTES } from '../protocol/scan-steps.ts';
import { errorFrame, rawErrorFrame, resultFrame } from '../protocol/write.ts';
import type { Flight } from './flight.ts';
import { labelQuestion } from './question.ts';
import type { Talk } from './talk.ts';

const AT_ONCE = 64;
const QUESTIONS: ReadonlySet<string> = new Set(['roots/list', 'sampling/createMessage', 'elicitation/create']);

export interface AskedParts {
  readonly kernel: Kernel;
  readonly limits: Limits;
  readonly server: string;
  /** As configured; stands in front of the question. */
  readonly name: string;
  readonly talk: Talk;
  /** The call that a question came with: of this exchange, else the newest one whose user can be asked. */
  readonly flightOf: (exchange: number | undefined) => Flight | undefined;
  /** What the server calls its question with this id. */
  readonly keyOf: (idRaw: string) => string | undefined;
  readonly reply: (frame: Buffer) => void;
}

export class Asked {
  readonly #parts: AskedParts;
  readonly #open: CappedMap<string, Deadline>;

  constructor(parts: AskedParts) {
    this.#parts = parts;
    this.#open = new CappedMap<string, Deadline>('upstream.questions', AT_ONCE, 'refuse', parts.kernel.ceilings);
  }

  /** False = nobody can be asked this here. */
  take({ bytes, id, method, params }: Envelope, exchange: number | undefined): boolean {
    const { talk, kernel, limits, server, name, flightOf, keyOf } = this.#parts;
    if (!QUESTIONS.has(method) || !talk.ask) return false;
    const own = params.at < 0 ? undefined : bytes.subarray(params.at, params.end);
    const shown = labelQuestion(method, own, { server, name, maxBytes: limits.questionBytes });
    const idRaw = Buffer.from(bytes.subarray(id.at, id.end));
    if (isRefusal(shown)) {
      kernel.bus.publish({ type: 'question-refused', server, method, reason: shown.message });
      this.#parts.reply(errorFrame(idRaw, { code: -32602, message: shown.message }));
      return true;
    }
    const flight = flightOf(exchange);
    const deadline = kernel.deadline(limits.askUserMs);
    const rawId = idRaw.toString('latin1');
    if (this.#open.has(rawId) || !this.#open.set(rawId, deadline)) {
      deadline[Symbol.dispose]();
      this.#parts.reply(
        errorFrame(idRaw, { code: -32000, message: 'Too many questions are open on this connection.' }),
      );
      return true;
    }
    const release = flight?.hold(limits.askUserMs);
    const forget = flight?.plan.deadline.onEnd((reason) => deadline.end(reason));
    const asking: Asking = {
      ...{ method, params: shown, key: keyOf(rawId) },
      ...{ deadline, owner: flight?.plan.owner ?? server },
    };
    const ask = flight?.plan.back.ask?.bind(flight.plan.back) ?? talk.ask.bind(talk);
    void ask(asking).then((answer) => {
      this.#open.delete(rawId);
      deadline[Symbol.dispose]();
      forget?.();
      release?.();
      this.#parts.reply(frameOf(idRaw, method, answer));
    });
    return true;
  }

  /** The server does not wait for the answer any more. */
  takenBack({ bytes, params }: Envelope): void {
    // A cancellation of that size is looked through by nobody.
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
