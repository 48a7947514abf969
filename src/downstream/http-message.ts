/**
 * One message of a POST as the call sees it, and the way from its answer to the exchange.
 * Guarantees: the client's going away is reported only before the answer; the exchange becomes a stream when the answer takes too long.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Caller, Incoming, Visit } from '../call/call.ts';
import type { Line } from '../call/line.ts';
import type { Kernel } from '../kernel/kernel.ts';
import type { Claim } from '../protocol/era-2026/claim.ts';
import type { Envelope } from '../protocol/message.ts';
import type { Session } from '../session/sessions.ts';
import type { Authorized } from './authorized.ts';
import { Exchange, type ExchangeRooms } from './exchange.ts';
import { guardCallback, onceClosed, whenSettled } from './guarded-http.ts';

export interface MessageParts extends ExchangeRooms {
  readonly kernel: Kernel;
  readonly line: Line;
}

/** What a POST says, and who sent it. */
export interface Posted {
  readonly envelope: Envelope;
  readonly authorized: Authorized;
  /** Of the stateless era. */
  readonly claim?: Claim | undefined;
}

/** Answers one message. `streamAfterMs`: how long the answer may take before the exchange becomes a stream, so that no proxy cuts it. */
export function answerMessage(
  request: IncomingMessage,
  response: ServerResponse,
  posted: Posted,
  parts: MessageParts,
  streamAfterMs: number,
): void {
  const { kernel, line } = parts;
  const exchange = new Exchange({ request, response, owner: posted.authorized.caller.owner }, posted.envelope, parts);
  const outcome = line.answer(new HttpMessage(request, response, posted, exchange));
  if (!(outcome instanceof Promise)) return exchange.answer(outcome);
  const patience = kernel.wheel.add(
    kernel.clock.nowMs() + streamAfterMs,
    guardCallback(kernel, response, () => exchange.becomeStream()),
  );
  whenSettled(kernel, response, outcome, (late) => {
    kernel.wheel.remove(patience);
    exchange.answer(late);
  });
}

/** A class, so that a message costs one object and no closures. */
class HttpMessage implements Incoming {
  readonly envelope: Envelope;
  readonly visit: Visit;
  readonly caller: Caller;
  readonly claim: Claim | undefined;
  readonly back: Exchange;
  readonly #request: IncomingMessage;
  readonly #response: ServerResponse;

  constructor(
    request: IncomingMessage,
    response: ServerResponse,
    { envelope, authorized, claim }: Posted,
    exchange: Exchange,
  ) {
    this.envelope = envelope;
    this.visit = authorized.visit;
    this.caller = authorized.caller;
    this.claim = claim;
    this.back = exchange;
    this.#request = request;
    this.#response = response;
  }

  header(name: string): string | undefined {
    const value = this.#request.headers[name];
    return typeof value === 'string' ? value : undefined;
  }

  onCaller(caller: Caller): void {
    this.back.forCaller(caller);
  }

  onSession(session: Session): void {
    this.back.inSession(session);
  }

  onGone(listener: () => void): void {
    onceClosed(this.#response, () => {
      if (!this.back.isAnswered) listener();
    });
  }
}
