/**
 * `/mcp`, `/mcp/:group`, `/mcp/:server`: POST, GET and DELETE of the 2025 era.
 * Guarantees: a POST needs no Accept header and no session; never 406; GET is a stream or 405; an unknown session is
 * 404, never 400; the sender is identified by headers before a body byte is read; bytes, depth and ids are limited
 * before anything is parsed.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Admission, MessageKind } from '../admission/gate.ts';
import { notForKey, type PathTarget } from '../auth/access.ts';
import type { RequestPipeline } from '../call/pipeline.ts';
import type { Questions } from '../call/questions.ts';
import type { Catalog } from '../catalog/catalog.ts';
import type { Limits } from '../config/limits.ts';
import { isRefusal, Refusal } from '../model/outcome.ts';
import { answerId, refusedMessage } from '../protocol/answer-id.ts';
import { readRequestMeta, refuseVersionHeader } from '../protocol/era-2026/request-meta.ts';
import type { Envelope } from '../protocol/message.ts';
import { clientScan, isBatch, scanEnvelope } from '../protocol/scan.ts';
import type { Runtime } from '../runtime/runtime.ts';
import type { ResumableStreams } from '../session/resumable-streams.ts';
import type { Sessions } from '../session/sessions.ts';
import { Authorized } from './authorized.ts';
import { createBatch } from './batch.ts';
import { type Bodies, SMALL_BYTES } from './bodies.ts';
import { readBody } from './body.ts';
import { countConnectionFor } from './connection-table.ts';
import { createGetStream } from './get-stream.ts';
import { whenSettled } from './guarded-http.ts';
import { refuseType, severalValues } from './header-values.ts';
import { declaresBody, refuseMessage, refuseRequest, writeRefusal } from './http-answer.ts';
import { answerMessage } from './http-message.ts';
import { createLargeBodies } from './large-bodies.ts';
import { isHop, type PeerWorkers } from './peer-workers.ts';
import { createRefusalWriter } from './refusal-writer.ts';
import { requestContextFrom } from './request-context.ts';
import type { SessionAffinity } from './session-affinity.ts';
import { countFor } from './slow-reader.ts';
import { claimHeaders, createStateless, headerText } from './stateless.ts';
import type { Streams } from './streams.ts';

export interface EndpointParts {
  readonly runtime: Runtime;
  readonly limits: Limits;
  readonly pipeline: RequestPipeline;
  readonly admission: Pick<Admission, 'refusalFor' | 'countRequest'>;
  readonly catalog: Catalog;
  readonly sessions: Sessions;
  readonly resumableStreams: ResumableStreams;
  readonly questions: Questions;
  readonly streams: Streams;
  readonly peers: PeerWorkers;
  readonly affinity: SessionAffinity;
  readonly bodies: Bodies;
  /** Id of this worker. */
  readonly slot: number;
}

const NULL_ID = Buffer.from('null');

export class Endpoint {
  readonly #parts: EndpointParts;
  readonly #openStream: ReturnType<typeof createGetStream>;
  readonly #stateless: ReturnType<typeof createStateless>;
  readonly #answerBatch: ReturnType<typeof createBatch>;
  readonly #largeBodies: ReturnType<typeof createLargeBodies>;
  /** Writes a refusal that many requests get. */
  readonly #writeRepeated: ReturnType<typeof createRefusalWriter>;

  constructor(parts: EndpointParts) {
    const { runtime } = parts;
    this.#parts = parts;
    this.#openStream = createGetStream(parts);
    this.#stateless = createStateless(parts);
    this.#answerBatch = createBatch(parts);
    this.#largeBodies = createLargeBodies(runtime);
    this.#writeRepeated = createRefusalWriter(runtime);
  }

  /** `segment`: the text after `/mcp/`, decoded; empty for `/mcp`. */
  handle(
    request: IncomingMessage,
    response: ServerResponse,
    { segment, local }: { segment: string; local: boolean },
  ): void {
    const { pipeline, admission } = this.#parts;
    const target = this.#targetOf(segment);
    const authorized = Authorized.from(pipeline, requestContextFrom(request, target ?? { kind: 'all' }, local));
    // With a body the connection is closed: there is no identified caller who could continue.
    if (isRefusal(authorized))
      return (declaresBody(request) ? refuseRequest : this.#writeRepeated)(request, response, authorized);
    countFor(response, authorized.caller.owner);
    countConnectionFor(request, authorized.caller.owner);
    if (target === undefined) {
      if (authorized.caller.principal.groups !== undefined) return refuseRequest(request, response, notForKey());
      const why = `No group or server has the name ${JSON.stringify(segment.slice(0, 64))}; paths are /mcp and /mcp/<name>.`;
      const unknown = new Refusal('not-found', why);
      // A client that waits for 100 Continue sends no body before the final status.
      const sendsBody = request.method === 'POST' && request.headers.expect === undefined;
      return sendsBody ? this.#post(request, response, authorized, unknown) : refuseRequest(request, response, unknown);
    }
    // Otherwise each request would get 404, upon which clients open sessions without end.
    if (authorized.context.sessionId?.includes(','))
      return refuseRequest(request, response, severalValues('mcp-session-id'));
    const { method } = request;
    if (method === 'POST') return this.#post(request, response, authorized);
    if (method !== 'GET' && method !== 'DELETE')
      return refuseRequest(request, response, new Refusal('method-not-allowed'), { allow: 'GET, POST, DELETE' });
    const tooFast = admission.countRequest(authorized.caller.owner);
    if (tooFast) return this.#writeRepeated(request, response, tooFast);
    if (declaresBody(request))
      return refuseRequest(request, response, new Refusal('invalid-request', `${method} must not have a body here.`));
    if (method === 'GET') this.#openStream(request, response, authorized);
    else this.#endSession(response, authorized);
  }

  #targetOf(segment: string): PathTarget | undefined {
    return segment === '' ? { kind: 'all' } : this.#parts.catalog.resolvePath(segment);
  }

  /**
   * `unknownPath`: nothing is served at the path; the body is read for the id of its request, which the answer needs.
   */
  #post(request: IncomingMessage, response: ServerResponse, authorized: Authorized, unknownPath?: Refusal): void {
    const { admission, runtime, limits } = this.#parts;
    const { owner } = authorized.caller;
    const isLarge = Number(request.headers['content-length'] ?? 0) > SMALL_BYTES;
    const early = admission.refusalFor(owner, isLarge ? 'large' : 'unknown');
    if (early) return this.#writeRepeated(request, response, early);
    const wrongType = refuseType(request);
    if (wrongType) return writeRefusal(response, wrongType, NULL_ID, request);
    readBody({ request, response, authorized }, this.#parts, (body) => {
      if (isRefusal(body)) {
        if (body.code !== 'client-gone') writeRefusal(response, body, NULL_ID, request);
        return;
      }
      if (this.#isRefused(request, response, body, owner)) return;
      this.#largeBodies.take(body.length, response, () => {
        if (unknownPath) return this.#refusePath(request, response, body, unknownPath);
        if (isBatch(body))
          return whenSettled(runtime, response, this.#answerBatch(request, response, body, authorized), () => {});
        const envelope = scanEnvelope(body, clientScan(limits));
        if (isRefusal(envelope)) return refuseMessage(request, response, body, envelope);
        // A message that is passed on is read once more: in another turn, so that none takes long.
        this.#largeBodies.take(body.length, response, () => this.#answerOne(request, response, envelope, authorized));
      });
    });
  }

  /** Refuses a message of a key or hub at its limits before it is parsed, unless it may end a call. */
  #isRefused(request: IncomingMessage, response: ServerResponse, body: Buffer, owner: string): boolean {
    const { admission } = this.#parts;
    let refusal = admission.refusalFor(owner, 'work');
    const kind = refusal ? kindOf(body) : 'work';
    if (kind !== 'work') refusal = admission.refusalFor(owner, kind);
    if (refusal) this.#writeRepeated(request, response, refusal);
    return refusal !== undefined;
  }

  #refusePath(request: IncomingMessage, response: ServerResponse, body: Buffer, unknownPath: Refusal): void {
    const { limits } = this.#parts;
    const envelope = scanEnvelope(body, clientScan(limits));
    const idRaw = isRefusal(envelope) ? refusedMessage(body, envelope).idRaw : answerId(envelope);
    writeRefusal(response, unknownPath, isBatch(body) ? NULL_ID : idRaw, request);
  }

  #answerOne(request: IncomingMessage, response: ServerResponse, envelope: Envelope, authorized: Authorized): void {
    const { affinity } = this.#parts;
    const requestMeta = readRequestMeta(envelope, claimHeaders(request));
    if (requestMeta !== undefined) {
      this.#stateless.answer(request, response, { envelope, authorized, requestMeta });
      return;
    }
    // Any supported version is accepted, whatever was negotiated; initialize may name one that is to be negotiated.
    const wrongVersion = refuseVersionHeader(envelope, headerText(request, 'mcp-protocol-version'));
    if (wrongVersion) return writeRefusal(response, wrongVersion, answerId(envelope), request);
    if (envelope.kind === 'reply' && this.#passedOn(request, response, envelope, authorized)) return;
    const here = (): void => this.#answerHere(request, response, envelope, authorized);
    if (!affinity.passesMessage(request, response, { authorized, envelope, here })) here();
  }

  #answerHere(request: IncomingMessage, response: ServerResponse, envelope: Envelope, authorized: Authorized): void {
    const { limits } = this.#parts;
    // A session's client that is disconnected can return to the stream.
    const isKept = authorized.context.sessionId !== undefined;
    const afterMs = isKept ? limits.streamAfterMs : limits.streamKeepAliveMs;
    answerMessage(request, response, { envelope, authorized }, this.#parts, afterMs);
  }

  /** Passes on the answer to a request that another worker has sent in a session of the same caller. */
  #passedOn(
    request: IncomingMessage,
    response: ServerResponse,
    envelope: Envelope,
    { context, caller }: Authorized,
  ): boolean {
    const { questions, limits, pipeline, peers } = this.#parts;
    const slot = questions.ownerOf(envelope);
    if (slot === undefined || slot === this.#parts.slot || slot > limits.workers || isHop(request)) return false;
    const session = pipeline.findSession(context, caller);
    if (session === undefined || isRefusal(session)) return false;
    peers.pass(request, response, {
      slot,
      owner: caller.owner,
      access: caller,
      body: envelope.bytes,
      // The worker that sent the request has exited with its call: the answer is accepted and dropped.
      away: () => void response.writeHead(202, { 'content-length': 0 }).end(),
    });
    return true;
  }

  #endSession(response: ServerResponse, { context, caller }: Authorized): void {
    const { pipeline, sessions } = this.#parts;
    if (context.sessionId === undefined)
      return writeRefusal(response, new Refusal('invalid-request', 'DELETE needs the Mcp-Session-Id header.'));
    const session = pipeline.findSession(context, caller);
    if (isRefusal(session) || session === undefined)
      return writeRefusal(response, session ?? new Refusal('session-unknown'));
    sessions.end(session.id);
    response.writeHead(200, { 'content-length': 0 }).end();
  }
}

/**
 * Searches a message that was not parsed for names of members and methods; they may be escaped
 * ("notifications\/cancelled").
 */
function kindOf(body: Buffer): MessageKind {
  // A search in text is faster than one in bytes; a large body is not copied for it.
  const text = body.length <= SMALL_BYTES ? body.toString('latin1') : body;
  if (!text.includes(METHOD) || text.includes(CANCELLED)) return 'unknown';
  // The result of a reply may have a member "method".
  if (text.includes(RESULT) || text.includes(ERROR)) return 'unknown';
  return text.includes(PING) || text.includes(INITIALIZED) ? 'call' : 'work';
}

const METHOD = '"method"';
const RESULT = '"result"';
const ERROR = '"error"';
const CANCELLED = 'cancelled';
const PING = '"ping"';
const INITIALIZED = 'initialized';
