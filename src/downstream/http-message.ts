/**
 * One message of a POST as the call sees it; its answer goes to the exchange.
 * Guarantees: a disconnect of the client is reported only before the answer; the exchange becomes a stream when the
 * answer takes too long.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Caller, Incoming, RequestContext } from '../call/call.ts';
import type { RequestPipeline } from '../call/pipeline.ts';
import type { RequestMeta } from '../protocol/era-2026/request-meta.ts';
import type { Envelope } from '../protocol/message.ts';
import type { Runtime } from '../runtime/runtime.ts';
import type { Session } from '../session/sessions.ts';
import type { Authorized } from './authorized.ts';
import { Exchange, type ExchangeParts } from './exchange.ts';
import { guardCallback, onceClosed, whenSettled } from './guarded-http.ts';

export interface MessageParts extends ExchangeParts {
  readonly runtime: Runtime;
  readonly pipeline: RequestPipeline;
}

/** The content and the sender of a POST. */
export interface Posted {
  readonly envelope: Envelope;
  readonly authorized: Authorized;
  /** Set in the stateless era. */
  readonly requestMeta?: RequestMeta | undefined;
}

/**
 * Answers one message. `streamAfterMs`: how long the answer may take before the exchange becomes a stream, so that no
 * proxy closes it.
 */
export function answerMessage(
  request: IncomingMessage,
  response: ServerResponse,
  posted: Posted,
  parts: MessageParts,
  streamAfterMs: number,
): void {
  const { runtime, pipeline } = parts;
  const exchange = new Exchange({ request, response, owner: posted.authorized.caller.owner }, posted.envelope, parts);
  const outcome = pipeline.answer(new HttpMessage(request, response, posted, exchange));
  if (!(outcome instanceof Promise)) return exchange.answer(outcome);
  const patience = runtime.wheel.add(
    runtime.clock.nowMs() + streamAfterMs,
    guardCallback(runtime, response, () => exchange.becomeStream()),
  );
  whenSettled(runtime, response, outcome, (late) => {
    runtime.wheel.remove(patience);
    exchange.answer(late);
  });
}

/** A class, so that a message costs one object and no closures. */
class HttpMessage implements Incoming {
  readonly envelope: Envelope;
  readonly context: RequestContext;
  readonly caller: Caller;
  readonly requestMeta: RequestMeta | undefined;
  readonly back: Exchange;
  readonly #request: IncomingMessage;
  readonly #response: ServerResponse;

  constructor(
    request: IncomingMessage,
    response: ServerResponse,
    { envelope, authorized, requestMeta }: Posted,
    exchange: Exchange,
  ) {
    this.envelope = envelope;
    this.context = authorized.context;
    this.caller = authorized.caller;
    this.requestMeta = requestMeta;
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

  isGone(): boolean {
    return this.#response.destroyed;
  }

  onGone(listener: () => void): void {
    onceClosed(this.#response, () => {
      if (!this.back.isAnswered) listener();
    });
  }
}
