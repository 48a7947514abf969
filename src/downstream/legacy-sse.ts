/**
 * Clients of 2024-11-05: GET /sse for what they receive, POST /messages for what they send; no resumption.
 * Guarantees: the first event gives the address for posts; a post gets 202, and its reply once on the stream; only the
 * key that opened the stream may post; calls and session end with it; a post that reaches another worker is passed on.
 */
import { randomBytes } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Admission } from '../admission/gate.ts';
import { notForKey, type PathTarget } from '../auth/access.ts';
import type { Reply, RequestContext } from '../call/call.ts';
import type { RequestPipeline } from '../call/pipeline.ts';
import type { Questions } from '../call/questions.ts';
import type { Catalog } from '../catalog/catalog.ts';
import type { Limits } from '../config/limits.ts';
import { isRefusal, type Outcome, Refusal } from '../model/outcome.ts';
import { refusedMessage } from '../protocol/answer-id.ts';
import type { Answer, Asking, BackChannel } from '../protocol/back-channel.ts';
import type { Envelope } from '../protocol/message.ts';
import { clientScan, scanEnvelope } from '../protocol/scan.ts';
import { notificationFrame, refusalFrame } from '../protocol/write.ts';
import { CappedMap } from '../runtime/capped.ts';
import type { Runtime } from '../runtime/runtime.ts';
import type { Session, Sessions } from '../session/sessions.ts';
import { Authorized } from './authorized.ts';
import type { Bodies } from './bodies.ts';
import { readBody } from './body.ts';
import { countConnectionFor } from './connection-table.ts';
import { whenSettled } from './guarded-http.ts';
import { refuseType } from './header-values.ts';
import { refuseRequest, traceRefusal, writeRefusal } from './http-answer.ts';
import { isHop, type PeerWorkers } from './peer-workers.ts';
import { batchPiece } from './reply-frame.ts';
import { requestContextFrom } from './request-context.ts';
import { countFor } from './slow-reader.ts';
import type { SseStream } from './sse-stream.ts';
import type { Streams } from './streams.ts';

export interface LegacySseParts {
  readonly runtime: Runtime;
  readonly limits: Limits;
  readonly slot: number;
  readonly pipeline: RequestPipeline;
  readonly admission: Pick<Admission, 'countRequest'>;
  readonly catalog: Catalog;
  readonly sessions: Sessions;
  readonly questions: Questions;
  readonly streams: Streams;
  readonly peers: PeerWorkers;
  readonly bodies: Bodies;
}

interface Open {
  readonly id: string;
  readonly stream: SseStream;
  /** The caller that opened it, which alone may post to it. */
  readonly sender: string;
  /** An initialize was accepted; another is refused, because it would take a place for each. */
  isInitialized: boolean;
  /** Created by the client's initialize. */
  session: Session | undefined;
  /** What ends with the stream. */
  readonly closeListeners: Set<() => void>; // bounded by: the calls of this stream, which admission counts
}

const OPEN_ID = /^(\d{1,3})-[\w-]{22}$/;
const ANSWERED = Buffer.from('Accepted');
const NULL_ID = Buffer.from('null');
const nothing = (): void => {};

export class LegacySse {
  readonly #parts: LegacySseParts;
  readonly #open: CappedMap<string, Open>;

  constructor(parts: LegacySseParts) {
    const { limits, runtime } = parts;
    this.#parts = parts;
    this.#open = new CappedMap('downstream.old-sse', () => limits.streams, 'refuse', runtime.ceilings);
  }

  /**
   * `segment`: the group or server after `/sse/` or `/messages/`, decoded; empty for none. `given`: the path as it was
   * sent.
   */
  open(
    request: IncomingMessage,
    response: ServerResponse,
    { segment, given }: { readonly segment: string; readonly given: string },
  ): void {
    const { admission, slot, streams, runtime } = this.#parts;
    const caller = this.#callerOf(request, response, segment);
    if (!caller) return;
    const tooFast = admission.countRequest(caller.authorized.caller.owner);
    if (tooFast) return refuseRequest(request, response, tooFast);
    const id = `${slot}-${randomBytes(16).toString('base64url')}`;
    const access = caller.authorized.caller;
    const stream = streams.open(response, { owner: access.owner, access }, (reason) => this.#close(one, reason));
    if (isRefusal(stream)) return writeRefusal(response, stream);
    const one: Open = {
      id,
      stream,
      sender: caller.sender,
      isInitialized: false,
      session: undefined,
      closeListeners: new Set(),
    };
    if (!this.#open.set(id, one)) return stream.close('too-many-streams');
    const path = segment === '' ? 'messages' : `messages/${encodeURIComponent(segment)}`;
    stream.event('endpoint', Buffer.from(`${wayTo(request, given)}${path}?sessionId=${id}${keyGiven(request)}`));
    runtime.bus.publish({ type: 'stream-opened', session: id.slice(0, 8) });
  }

  post(request: IncomingMessage, response: ServerResponse, segment: string): void {
    const { slot, limits, peers } = this.#parts;
    const caller = this.#callerOf(request, response, segment);
    if (!caller) return;
    const wrongType = refuseType(request, true);
    if (wrongType) return writeRefusal(response, wrongType, undefined, request);
    const id = inQuery(request.url, 'sessionId');
    const owner = id === undefined ? undefined : OPEN_ID.exec(id)?.[1];
    const { authorized } = caller;
    const isElsewhere =
      owner !== undefined && Number(owner) !== slot && Number(owner) <= limits.workers && !isHop(request);
    readBody({ request, response, authorized }, this.#parts, (body, count) => {
      if (isRefusal(body))
        return body.code === 'client-gone' ? undefined : writeRefusal(response, body, undefined, request);
      const unknown = () =>
        writeRefusal(response, new Refusal('session-unknown', 'No stream of this id is open: GET /sse first.'));
      if (isElsewhere)
        return peers.pass(request, response, {
          slot: Number(owner),
          owner: authorized.caller.owner,
          access: authorized.caller,
          body,
          away: unknown,
        });
      const one = id === undefined ? undefined : this.#open.get(id);
      if (!one || one.sender !== caller.sender) return unknown();
      const envelope = scanEnvelope(body, clientScan(limits));
      const refused = isRefusal(envelope) ? refusedMessage(body, envelope) : undefined;
      if (isRefusal(envelope) && refused?.kind !== 'request') return writeRefusal(response, envelope);
      response.writeHead(202, { 'content-type': 'text/plain', 'content-length': ANSWERED.length }).end(ANSWERED);
      // The client reads all answers on the stream.
      if (isRefusal(envelope)) {
        traceRefusal(response, envelope);
        one.stream.send(refusalFrame(refused?.idRaw ?? NULL_ID, envelope));
      } else this.#take(one, envelope, authorized.context, response, count?.keep() ?? nothing);
    });
  }

  #targetOf(segment: string): PathTarget | undefined {
    const { catalog } = this.#parts;
    return segment === '' ? { kind: 'all' } : catalog.resolvePath(segment);
  }

  /** Returns the caller; undefined when the refusal was written. */
  #callerOf(request: IncomingMessage, response: ServerResponse, segment: string) {
    const { pipeline } = this.#parts;
    const target = this.#targetOf(segment);
    const authorized = Authorized.from(pipeline, requestContextFrom(request, target ?? { kind: 'all' }, false));
    const refused = isRefusal(authorized) ? authorized : target === undefined ? unknownFor(authorized) : undefined;
    if (refused) refuseRequest(request, response, refused);
    if (refused || isRefusal(authorized)) return undefined;
    countFor(response, authorized.caller.owner);
    countConnectionFor(request, authorized.caller.owner);
    const { principal } = authorized.caller;
    return { authorized, sender: `${principal.userId}\n${principal.family}` };
  }

  #close(one: Open, reason: string): void {
    const { sessions, runtime } = this.#parts;
    if (!this.#open.delete(one.id)) return;
    for (const gone of [...one.closeListeners]) gone();
    one.closeListeners.clear();
    // No other client knows its id: its subscriptions, and its own connections to servers, would remain unused.
    if (one.session) sessions.end(one.session.id, 'stream-closed');
    runtime.bus.publish({
      type: 'stream-closed',
      session: one.session?.shortId ?? one.id.slice(0, 8),
      reason,
      ms: Math.round(runtime.clock.nowMs() - one.stream.openedMs),
    });
  }

  #refuse(one: Open, envelope: Envelope, why: string): void {
    const piece = batchPiece(envelope, new Refusal('invalid-request', why));
    if (piece) one.stream.send(piece);
  }

  /** `release` gives back the memory of the message, which outlives its request. */
  #take(one: Open, envelope: Envelope, context: RequestContext, response: ServerResponse, release: () => void): void {
    const { questions, pipeline, sessions, runtime } = this.#parts;
    if (envelope.method === 'initialize') {
      if (one.isInitialized) {
        release();
        return this.#refuse(one, envelope, 'This stream has been initialized already: open another one.');
      }
      one.isInitialized = true;
    }
    const back = new OldBack(one, questions, response);
    const gone = new Set<() => void>(); // bounded by: one call
    const outcome = pipeline.answer({
      envelope,
      context: { ...context, sessionId: one.session?.id },
      back,
      isLostWhenGone: true,
      isGone: () => one.stream.over,
      onGone(listener) {
        if (one.stream.over) return listener();
        gone.add(listener);
        one.closeListeners.add(listener);
      },
    });
    const finish = (late: Outcome<Reply>): void => {
      back.over = true;
      release();
      for (const listener of gone) one.closeListeners.delete(listener);
      const session = !isRefusal(late) && late.kind === 'result' ? late.session : undefined;
      if (envelope.method === 'initialize' && !session) one.isInitialized = false;
      // The client disconnected before its session was created: no other client knows it.
      if (session && one.stream.over) {
        sessions.end(session.id, 'stream-closed');
        return;
      }
      if (session) {
        one.session = session;
        sessions.attach(session, one.stream);
      }
      const piece = batchPiece(envelope, late);
      if (piece) one.stream.send(piece);
    };
    const cut = { destroy: () => one.stream.cut('fault') };
    if (outcome instanceof Promise) whenSettled(runtime, cut, outcome, finish);
    else finish(outcome);
  }
}

/** The back channel of a call: everything goes to the one stream. */
class OldBack implements BackChannel {
  readonly progressToken = undefined;
  over = false;
  readonly #open: Open;
  readonly #questions: Questions;
  /** The response to the message, which only says that it was accepted. */
  readonly #post: ServerResponse;

  constructor(open: Open, questions: Questions, post: ServerResponse) {
    this.#open = open;
    this.#questions = questions;
    this.#post = post;
  }

  refused(refusal: Refusal): void {
    traceRefusal(this.#post, refusal);
  }

  notify(method: string, params: Buffer): void {
    if (!this.over) this.#open.stream.send(notificationFrame(method, params));
  }

  async ask(asking: Asking): Promise<Outcome<Answer>> {
    const { session, stream } = this.#open;
    if (!session || this.over) return new Refusal('client-cannot-be-asked');
    return this.#questions.ask({ ...asking, session, send: (frame) => stream.send(frame) });
  }
}

/**
 * The official Java SDK resolves against its base `http://hub:3000`, to which older versions of java.net.URI add
 * `messages` without a slash.
 */
const JAVA = 'Java-http-client/';

/**
 * Returns the prefix of the path for posts, relative to the address of the stream as the client knows it, so that a
 * proxy may add a prefix.
 */
function wayTo({ headers }: IncomingMessage, given: string): string {
  if (headers['user-agent']?.startsWith(JAVA)) return '/';
  const below = given.slice(given.indexOf('sse') + 'sse'.length);
  return '../'.repeat(below.split('/').length - 1);
}

function unknownFor({ caller }: Authorized): Refusal {
  return caller.principal.groups === undefined ? new Refusal('not-found') : notForKey();
}

/**
 * Returns the key for the address: a client with a key in the address (`settings.keyInQuery`) sends no header with
 * posts either.
 */
function keyGiven({ url, headers }: IncomingMessage): string {
  const key = inQuery(url, 'key');
  return key !== undefined && headers.authorization === `Bearer ${key}` ? `&key=${encodeURIComponent(key)}` : '';
}

function inQuery(url: string | undefined, name: string): string | undefined {
  const at = url?.indexOf('?') ?? -1;
  return at < 0 ? undefined : (new URLSearchParams(url?.slice(at)).get(name) ?? undefined);
}
