/**
 * A call whose server may ask the user: it stays open upstream between requests of the client.
 * Guarantees: a server request is answered once or ends by its deadline, and has the server's name or one of the hub's;
 * requests that come together form one input round; a returning client gets the result or the next round; without a
 * client for `askUserMs` the call ends upstream.
 */

import { isRefusal, type Outcome, Refusal } from '../model/outcome.ts';
import type { Answer, Asking, BackChannel } from '../protocol/back-channel.ts';
import type { InputRequest, Retry } from '../protocol/era-2026/input-required.ts';
import { ABSENT } from '../protocol/message.ts';
import { memberSpan, scanProgress } from '../protocol/scan.ts';
import { replaceSpans } from '../protocol/write.ts';
import type { Runtime } from '../runtime/runtime.ts';
import type { TimerWheelEntry } from '../runtime/timer-wheel.ts';
import type { Incoming, Reply } from './call.ts';

/** Requests that a server sends within this time form one round, ms. */
const TOGETHER_MS = 15;
const AT_ONCE = 16;
/** A larger result is not kept for a client that is away, bytes. */
const KEPT_BYTES = 1_048_576;
const PROGRESS = 'notifications/progress';

interface Question extends InputRequest {
  readonly settle: (answer: Outcome<Answer>) => void;
}

export interface SuspendedCallStoreParts {
  readonly runtime: Runtime;
  readonly askUserMs: number;
  /** Asks the client: returns the text of the answer that does so, or a refusal when no further call may wait. */
  readonly ask: (questions: ReadonlyMap<string, InputRequest>, round: number) => Outcome<Buffer>;
  /** The call has ended, or no client waits for it any more. */
  readonly over: () => void;
}

export class SuspendedCallStore implements BackChannel {
  readonly progressToken = undefined;
  readonly #parts: SuspendedCallStoreParts;
  readonly #questions = new Map<string, Question>(); // bounded by: AT_ONCE
  #asked = 0;
  #round = 0;
  #outcome: Outcome<Reply> | undefined;
  #exchange: Incoming | undefined;
  /** Raw JSON text of the progress token of the exchange; undefined when it requests no progress. */
  #token: string | undefined;
  #deliver: ((answer: Outcome<Reply>) => void) | undefined;
  #gone: (() => void) | undefined;
  #together: Disposable | undefined;
  #expiry: TimerWheelEntry | undefined;
  #isOver = false;

  constructor(parts: SuspendedCallStoreParts) {
    this.#parts = parts;
  }

  /** Number of the round that the client is to answer. */
  get round(): number {
    return this.#round;
  }

  onGone(listener: () => void): void {
    this.#gone = listener;
  }

  notify(method: string, params: Buffer): void {
    const exchange = this.#exchange;
    if (!exchange) return;
    const token = method === PROGRESS ? memberSpan(params, { at: 0, end: params.length }, 'progressToken') : ABSENT;
    if (token.at < 0) return exchange.back.notify(method, params);
    // The request of a returning client has a token of its own.
    if (this.#token === undefined) return;
    exchange.back.notify(method, replaceSpans(params, [{ ...token, with: Buffer.from(this.#token) }]));
  }

  ask({ method, params, key: named, deadline, owner }: Asking): Promise<Outcome<Answer>> {
    if (this.#isOver || this.#questions.size >= AT_ONCE) return Promise.resolve(new Refusal('client-cannot-be-asked'));
    this.#asked += 1;
    // Two requests of the same name would be one for the client.
    const key = named === undefined || this.#questions.has(named) ? `q${this.#asked}` : named;
    return new Promise((resolve) => {
      const wait = this.#parts.runtime.waits.open('client-answer', owner, deadline);
      const forget = deadline.onEnd(() => settle(new Refusal('client-silent', undefined, { phase: 'question' })));
      const settle = (answer: Outcome<Answer>): void => {
        if (!this.#questions.delete(key)) return;
        wait.leave();
        forget();
        resolve(answer);
      };
      this.#questions.set(key, { method, params, settle });
      this.#together ??= this.#parts.runtime.timers.after(TOGETHER_MS, () => {
        this.#together = undefined;
        this.#answer();
      });
    });
  }

  /** Answers the first exchange of the call, which is running. */
  first(incoming: Incoming, outcome: Promise<Outcome<Reply>>): Promise<Outcome<Reply>> {
    void outcome.then((late) => {
      const bytes = isRefusal(late) || late.kind === 'accepted' ? 0 : late.json.length;
      const isKept = this.#deliver !== undefined || bytes <= KEPT_BYTES;
      this.#outcome = isKept ? late : new Refusal('call-lost', undefined, { outcome: 'unknown' });
      this.#answer();
    });
    return this.#wait(incoming);
  }

  /** Continues the call for a client that returns with answers. */
  again(incoming: Incoming, retry: Retry): Promise<Outcome<Reply>> {
    for (const [key, question] of [...this.#questions]) {
      const json = retry.response(key);
      if (json) question.settle({ kind: 'result', json });
    }
    const waiting = this.#wait(incoming);
    // Requests without an answer are sent again, together with new ones.
    if (this.#outcome !== undefined || (this.#questions.size > 0 && !this.#together)) this.#answer();
    return waiting;
  }

  /** No client returns: ends the call; the server's requests get no answer. */
  end(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#stay();
    this.#together?.[Symbol.dispose]();
    for (const question of [...this.#questions.values()]) question.settle(new Refusal('client-cannot-be-asked'));
    this.#gone?.();
    this.#parts.over();
  }

  #wait(incoming: Incoming): Promise<Outcome<Reply>> {
    this.#stay();
    // A second client with the same state replaces the first.
    this.#deliver?.(new Refusal('request-state-invalid', 'This state has been used by another request.'));
    this.#exchange = incoming;
    const progress = scanProgress(incoming.envelope);
    this.#token = isRefusal(progress) ? undefined : progress.progressToken;
    incoming.onGone(() => {
      if (this.#exchange === incoming) this.end();
    });
    return new Promise((resolve) => {
      this.#deliver = resolve;
    });
  }

  #answer(): void {
    const deliver = this.#deliver;
    if (!deliver) return;
    if (this.#outcome !== undefined) {
      this.#leave();
      deliver(this.#outcome);
      // Nothing remains to be ended upstream.
      this.#gone = undefined;
      return this.end();
    }
    if (this.#questions.size === 0) return;
    this.#round += 1;
    const json = this.#parts.ask(this.#questions, this.#round);
    if (isRefusal(json)) {
      for (const question of [...this.#questions.values()]) question.settle(json);
      return;
    }
    this.#leave();
    this.#expiry = this.#parts.runtime.wheel.add(this.#parts.runtime.clock.nowMs() + this.#parts.askUserMs, () =>
      this.end(),
    );
    deliver({ kind: 'result', json });
  }

  #leave(): void {
    this.#deliver = undefined;
    this.#exchange = undefined;
  }

  #stay(): void {
    if (this.#expiry) this.#parts.runtime.wheel.remove(this.#expiry);
    this.#expiry = undefined;
  }
}
