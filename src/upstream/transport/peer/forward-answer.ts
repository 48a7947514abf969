/**
 * The answer of another worker to one forwarded request: one JSON reply, or events of which the last is the reply.
 * Guarantees: it holds at most `answerBytes`; every chunk is a sign of life; an answer without the reply ends with a
 * named fault. `forward.ts` owns the socket.
 */
import type { IncomingMessage } from 'node:http';
import type { Limits } from '../../../config/limits.ts';
import { HubError } from '../../../model/errors.ts';
import { isRefusal } from '../../../model/outcome.ts';
import type { Envelope } from '../../../protocol/message.ts';
import type { Runtime } from '../../../runtime/runtime.ts';
import { endedFault, largeFault, messageFault } from '../http/answer.ts';
import { BodyCollector } from '../http/body-collector.ts';
import { httpFault } from '../http/http-fault.ts';
import { EventReader, isReplyTo, messageSteps } from '../http/messages.ts';
import { PacedReader, type ReadStep } from '../paced-reader.ts';
import type { TransportEvents } from '../transport.ts';

export interface ForwardAnswerParts {
  readonly runtime: Runtime;
  readonly id: number;
  readonly server: string;
  readonly limits: Limits;
  readonly events: TransportEvents;
  readonly response: IncomingMessage;
  /**
   * Called once when the exchange has ended; with a fault if the reply was missing. `isRead`: the answer was read to
   * its end.
   */
  readonly over: (fault: HubError | undefined, isRead: boolean) => void;
}

export class ForwardAnswer {
  readonly #parts: ForwardAnswerParts;
  readonly #status: number;
  readonly #stream: EventReader | undefined;
  readonly #body: BodyCollector;
  readonly #reader: PacedReader;
  #isOver = false;
  #replied = false;
  /** Reads a body. */
  #work: Iterator<void, void> | undefined;

  constructor(parts: ForwardAnswerParts) {
    const { runtime, server, limits, response } = parts;
    this.#parts = parts;
    this.#status = response.statusCode ?? 0;
    this.#body = new BodyCollector(limits.answerBytes);
    const isStream = (response.headers['content-type'] ?? '').startsWith('text/event-stream');
    const sink = { message: (message: Envelope) => this.#hand(message) };
    this.#stream = this.#status === 200 && isStream ? new EventReader(limits, sink) : undefined;
    this.#reader = new PacedReader({
      runtime,
      server,
      step: () => this.#step(),
      read: () => this.#read(),
      ended: (fault) => this.#end(this.#replied ? undefined : this.#faultOf(fault), fault === undefined),
    });
  }

  take(chunk: Buffer): void {
    const { id, server, limits, events, response } = this.#parts;
    if (this.#isOver) return;
    events.alive(id);
    if (this.#stream) {
      this.#stream.feed(chunk);
      this.#reader.run(response);
    } else if (!this.#body.add(chunk)) this.#end(largeFault(server, limits.answerBytes), false);
  }

  /** The answer has ended, or broken off with a fault. */
  end(fault?: HubError): void {
    if (this.#isOver) return;
    if (!this.#stream && !fault) this.#work = this.#bodySteps();
    this.#reader.end(fault);
  }

  /** Stops reading. */
  cancel(): void {
    this.#isOver = true;
    this.#reader.cancel();
  }

  #step(): ReadStep {
    const step = this.#work ? this.#workStep(this.#work) : (this.#stream?.step() ?? 'done');
    if (step === 'long') this.#parts.events.alive(this.#parts.id);
    return step;
  }

  #workStep(work: Iterator<void, void>): ReadStep {
    if (!work.next().done) return 'long';
    this.#work = undefined;
    return 'done';
  }

  #read(): void {
    const refusal = this.#stream?.refusal;
    if (refusal) this.#end(messageFault(refusal, this.#parts, this.#status), false);
  }

  *#bodySteps(): Generator<void, void> {
    const body = yield* this.#body.takeSteps();
    const isAnswer = this.#status === 200;
    if (!isAnswer)
      return this.#end(httpFault(this.#parts, { status: this.#status, headers: {}, body, asked: '' }), true);
    const messages = yield* messageSteps(body, this.#parts.limits);
    if (isRefusal(messages)) this.#end(messageFault(messages, this.#parts, this.#status), true);
    else for (const message of messages) this.#hand(message);
  }

  #faultOf(fault: Error | undefined): HubError {
    return fault instanceof HubError ? fault : endedFault(this.#parts.server, 0);
  }

  #end(fault: HubError | undefined, isRead: boolean): void {
    if (this.#isOver) return;
    this.cancel();
    this.#parts.over(fault, isRead);
  }

  #hand(message: Envelope): void {
    if (isReplyTo(message, this.#parts.id)) this.#replied = true;
    this.#parts.events.message(message, this.#parts.id);
  }
}
