/**
 * POSTs of the stateless era (2026-07-28): no session, no GET, no DELETE; closing the request is the cancel.
 * `call/stateless.ts` knows the methods.
 * Guarantees: the same address and key serve both eras, message by message; a refusal has the request's id and the
 * status that the specification requires; members of this hop (`io.modelcontextprotocol/*`) are not passed on.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { RequestPipeline } from '../call/pipeline.ts';
import type { Limits } from '../config/limits.ts';
import { isRefusal, type Outcome, Refusal } from '../model/outcome.ts';
import { answerId } from '../protocol/answer-id.ts';
import type { RequestMeta, RequestMetaHeaders } from '../protocol/era-2026/request-meta.ts';
import { HOP_PREFIX } from '../protocol/era-2026/versions.ts';
import type { Envelope } from '../protocol/message.ts';
import { withoutPrefix } from '../protocol/meta.ts';
import { paramSpan } from '../protocol/scan.ts';
import { withoutParam, withValue } from '../protocol/write.ts';
import type { Runtime } from '../runtime/runtime.ts';
import type { Authorized } from './authorized.ts';
import type { ExchangeParts } from './exchange.ts';
import { writeRefusal } from './http-answer.ts';
import { answerMessage } from './http-message.ts';
import { openListen } from './listen.ts';
import { isHop, type PeerWorkers } from './peer-workers.ts';

export interface StatelessParts extends ExchangeParts {
  readonly runtime: Runtime;
  readonly limits: Limits;
  readonly pipeline: RequestPipeline;
  readonly peers: PeerWorkers;
  /** Id of this worker. */
  readonly slot: number;
}

export interface Claimed {
  readonly envelope: Envelope;
  readonly authorized: Authorized;
  readonly requestMeta: Outcome<RequestMeta>;
}

export interface Stateless {
  answer(request: IncomingMessage, response: ServerResponse, claimed: Claimed): void;
}

/** Size of an empty object. */
const EMPTY_BYTES = 2;
const LISTEN = 'subscriptions/listen';

export function createStateless(parts: StatelessParts): Stateless {
  const { limits, pipeline, peers, slot } = parts;

  function listen(
    request: IncomingMessage,
    response: ServerResponse,
    { envelope, authorized, requestMeta }: Claimed & { readonly requestMeta: RequestMeta },
  ): void {
    const idRaw = answerId(envelope);
    const listening = pipeline.listen(envelope, requestMeta, authorized.caller);
    if (isRefusal(listening)) writeRefusal(response, listening, idRaw, request);
    else openListen({ response, access: authorized.caller, owner: authorized.caller.owner }, idRaw, listening, parts);
  }

  /** Passes on a call that another worker holds open for its user. */
  function passedOn(
    request: IncomingMessage,
    response: ServerResponse,
    { envelope, authorized }: Omit<Claimed, 'requestMeta'>,
    idRaw: Buffer,
  ): boolean {
    if (limits.workers <= 1 || isHop(request)) return false;
    const holder = pipeline.ownerOf(envelope);
    if (holder === undefined || holder === slot || holder > limits.workers) return false;
    const gone = new Refusal(
      'request-state-invalid',
      'The worker that held this call has exited. Start the call again.',
    );
    peers.pass(request, response, {
      slot: holder,
      owner: authorized.caller.owner,
      access: authorized.caller,
      body: envelope.bytes,
      away: () => writeRefusal(response, gone, idRaw, request),
    });
    return true;
  }

  /** Returns the part that servers may see. */
  function forServers(envelope: Envelope): Envelope {
    const meta = paramSpan(envelope, '_meta');
    const kept = withoutPrefix(envelope.bytes, meta, HOP_PREFIX);
    // Some servers refuse every request with an unexpected _meta.
    const bare = kept.length > EMPTY_BYTES ? envelope : withoutParam(envelope, meta);
    return bare === envelope ? withValue(envelope, meta, kept) : bare;
  }

  return {
    answer(request, response, { envelope, authorized, requestMeta }) {
      const idRaw = answerId(envelope);
      if (isRefusal(requestMeta)) return writeRefusal(response, requestMeta, idRaw, request);
      if (passedOn(request, response, { envelope, authorized }, idRaw)) return;
      const clean = forServers(envelope);
      if (envelope.kind === 'request' && envelope.method === LISTEN)
        listen(request, response, { envelope: clean, authorized, requestMeta });
      else
        answerMessage(request, response, { envelope: clean, authorized, requestMeta }, parts, limits.streamKeepAliveMs);
    },
  };
}

export function claimHeaders(request: IncomingMessage): RequestMetaHeaders {
  return {
    version: headerText(request, 'mcp-protocol-version'),
    method: headerText(request, 'mcp-method'),
    name: headerText(request, 'mcp-name'),
  };
}

export function headerText(request: IncomingMessage, name: string): string | undefined {
  const value = request.headers[name];
  return typeof value === 'string' ? value : undefined;
}
