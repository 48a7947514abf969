/**
 * What a sibling hub answers to one forwarded request: one JSON reply, or events of which the last is the reply.
 * Promises: holds at most `answerBytes`; every chunk is a sign of life; whatever does not end with the reply is a fault with a name.
 * Does not: own the socket (`forward.ts`).
 */
import type { IncomingMessage } from 'node:http';
import type { Limits } from '../../config/limits.ts';
import type { HubError } from '../../kernel/errors.ts';
import type { Kernel } from '../../kernel/kernel.ts';
import { isRefusal } from '../../kernel/outcome.ts';
import type { Envelope } from '../../protocol/message.ts';
import type { TransportEvents } from '../transport.ts';
import { endedFault, largeFault, messageFault } from './_http-answer.ts';
import { httpFault } from './_http-fault.ts';
import { EventReader, isReplyTo, messagesIn } from './_http-messages.ts';

export interface ForwardAnswerParts {
  readonly kernel: Kernel;
  readonly id: number;
  readonly server: string;
  readonly limits: Limits;
  readonly events: TransportEvents;
  readonly response: IncomingMessage;
}

export class ForwardAnswer {
  readonly #parts: ForwardAnswerParts;
  readonly #status: number;
  readonly #stream: EventReader | undefined;
  readonly #pieces: Buffer[] = []; // bounded by: answerBytes
  #bytes = 0;
  #replied = false;

  constructor(parts: ForwardAnswerParts) {
    this.#parts = parts;
    this.#status = parts.response.statusCode ?? 0;
    const isStream = (parts.response.headers['content-type'] ?? '').startsWith('text/event-stream');
    this.#stream = this.#status === 200 && isStream ? new EventReader(parts.limits) : undefined;
  }

  /** A fault ends the exchange. */
  take(chunk: Buffer): HubError | undefined {
    const { id, server, limits, events } = this.#parts;
    events.alive(id);
    if (!this.#stream) {
      this.#bytes += chunk.length;
      if (this.#bytes > limits.answerBytes) return largeFault(server, limits.answerBytes);
      this.#pieces.push(chunk);
      return undefined;
    }
    const messages = this.#stream.read(chunk);
    if (isRefusal(messages)) return messageFault(messages, this.#parts, this.#status);
    for (const message of messages) this.#hand(message);
    return undefined;
  }

  /** The answer has ended; a fault if the reply was not in it. */
  end(): HubError | undefined {
    const { server, limits } = this.#parts;
    if (!this.#stream) {
      const body = Buffer.concat(this.#pieces, this.#bytes);
      if (this.#status !== 200) return httpFault(this.#parts, { status: this.#status, headers: {}, body, asked: '' });
      const messages = messagesIn(body, limits);
      if (isRefusal(messages)) return messageFault(messages, this.#parts, this.#status);
      for (const message of messages) this.#hand(message);
    }
    return this.#replied ? undefined : endedFault(server, 0);
  }

  #hand(message: Envelope): void {
    if (isReplyTo(message, this.#parts.id)) this.#replied = true;
    this.#parts.events.message(message, this.#parts.id);
  }
}
