/**
 * One POST and its answer: plain JSON, or SSE as soon as something is sent before the result.
 * Guarantees: exactly one answer, and nothing after it; JSON unless the client accepts SSE and there is a reason for a
 * stream (a notification or server request, or a long wait); the stream of a session can be resumed, and its call
 * continues without its client.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Reply } from '../call/call.ts';
import type { Questions } from '../call/questions.ts';
import { isRefusal, type Outcome, Refusal } from '../model/outcome.ts';
import { answerId } from '../protocol/answer-id.ts';
import type { Answer, Asking, BackChannel } from '../protocol/back-channel.ts';
import { primesStreams } from '../protocol/era-2025/versions.ts';
import type { Envelope } from '../protocol/message.ts';
import { notificationFrame, refusalFrame } from '../protocol/write.ts';
import type { Access } from '../runtime/open-item.ts';
import type { ResumableStream, ResumableStreams } from '../session/resumable-streams.ts';
import type { Session, Sessions } from '../session/sessions.ts';
import { acceptsEventStream } from './header-values.ts';
import { answerRefusal, traceRefusal, writeFrame } from './http-answer.ts';
import { isUnanswered, replyFrame } from './reply-frame.ts';
import type { SseStream } from './sse-stream.ts';
import type { Streams } from './streams.ts';

export interface ExchangeParts {
  readonly streams: Streams;
  readonly resumableStreams: ResumableStreams;
  readonly sessions: Sessions;
  readonly questions: Questions;
}

export interface ExchangeOf {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  /** The share that its stream counts for. */
  readonly owner: string;
}

export class Exchange implements BackChannel {
  readonly #request: IncomingMessage;
  readonly #response: ServerResponse;
  readonly #owner: string;
  readonly #parts: ExchangeParts;
  readonly #idRaw: Buffer;
  readonly #acceptsSse: boolean;
  #access: Access | undefined;
  #session: Session | undefined;
  #stream: SseStream | undefined;
  #resumable: ResumableStream | undefined;
  #answered = false;
  readonly progressToken = undefined;

  constructor({ request, response, owner }: ExchangeOf, envelope: Envelope, parts: ExchangeParts) {
    this.#request = request;
    this.#response = response;
    this.#owner = owner;
    this.#parts = parts;
    this.#idRaw = answerId(envelope);
    this.#acceptsSse = acceptsEventStream(request.headers);
  }

  get isAnswered(): boolean {
    return this.#answered;
  }

  /** From now on it may become a stream, which ends with the key of this caller. */
  forCaller(access: Access): void {
    this.#access = access;
  }

  /** From now on its stream can be resumed, and its client can be asked. */
  inSession(session: Session): void {
    this.#session = session;
  }

  /**
   * Opens the stream early, for keep-alives and so that the client can return. Does nothing when the client does not
   * accept SSE.
   */
  becomeStream(): void {
    if (this.#answered || this.#stream || !this.#acceptsSse) return;
    const access = this.#access;
    if (!access || this.#response.headersSent || this.#response.destroyed) return;
    const { streams, resumableStreams } = this.#parts;
    const session = this.#session;
    const resumable = session && resumableStreams.open(session, this.#idRaw, access);
    const stream = streams.open(this.#response, { owner: this.#owner, access }, () => {
      if (!isRefusal(stream)) resumable?.detach(stream);
    });
    if (isRefusal(stream)) return resumable?.close('too-many-streams');
    this.#stream = stream;
    this.#resumable = resumable;
    if (!session || !resumable) return;
    if (primesStreams(session.version)) stream.prime(resumable.firstId);
    resumable.attach(stream, 0);
  }

  refused(refusal: Refusal): void {
    traceRefusal(this.#response, refusal);
  }

  notify(method: string, params: Buffer): void {
    if (this.#answered) return;
    this.becomeStream();
    this.#send(notificationFrame(method, params));
  }

  /** Asks on this call's stream, or on the session's GET stream if this call cannot have one. */
  async ask(asking: Asking): Promise<Outcome<Answer>> {
    const session = this.#session;
    if (!session || this.#answered) return new Refusal('client-cannot-be-asked');
    this.becomeStream();
    const { questions, sessions } = this.#parts;
    const send = (frame: Buffer) =>
      this.#resumable && !this.#answered ? this.#resumable.send(frame) : sessions.send(session, frame);
    return questions.ask({ ...asking, session, send });
  }

  answer(outcome: Outcome<Reply>): void {
    if (this.#answered) return;
    this.#answered = true;
    if (isUnanswered(outcome)) this.#endSilently();
    else if (this.#stream) this.#answerOnStream(this.#stream, outcome);
    else this.#answerAsJson(outcome);
  }

  /** Ends the exchange without a message, because none may follow a cancel. */
  #endSilently(): void {
    if (this.#resumable) this.#resumable.finishSilently();
    else if (this.#stream) this.#stream.close('cancelled');
    else this.#accept();
  }

  #accept(): void {
    const response = this.#response;
    if (!response.destroyed && !response.headersSent) response.writeHead(202, { 'content-length': 0 }).end();
  }

  #send(frame: Buffer): void {
    if (this.#resumable) this.#resumable.send(frame);
    else this.#stream?.send(frame);
  }

  #answerAsJson(outcome: Outcome<Reply>): void {
    if (isRefusal(outcome)) {
      answerRefusal(this.#response, outcome, this.#idRaw, this.#request);
      return;
    }
    if (outcome.kind === 'accepted') return this.#accept();
    // Text with one character for each byte, which Node joins with the headers: cheaper than joining buffers.
    const idText = this.#idRaw.toString('latin1');
    const head = `{"jsonrpc":"2.0","id":${idText},"${outcome.kind}":`;
    const around = outcome.kind === 'result' ? outcome.around : undefined;
    const pieces = { head, middle: outcome.json, tail: '}' };
    if (around) {
      pieces.head += around.head.toString('latin1');
      pieces.tail = `${around.tail.toString('latin1')}}`;
    }
    writeFrame(this.#response, pieces, sessionHeader(outcome));
  }

  #answerOnStream(stream: SseStream, outcome: Outcome<Reply>): void {
    const frame = this.#frameOf(outcome);
    if (this.#resumable && frame) return this.#resumable.finish(frame);
    if (frame) stream.send(frame);
    this.#resumable?.close('answered');
    stream.close('answered');
  }

  #frameOf(outcome: Outcome<Reply>): Buffer | undefined {
    if (isRefusal(outcome)) return refusalFrame(this.#idRaw, outcome);
    if (outcome.kind === 'accepted') return undefined;
    return replyFrame(this.#idRaw, outcome);
  }
}

function sessionHeader(reply: Reply): Record<string, string> | undefined {
  return reply.kind === 'result' && reply.session ? { 'mcp-session-id': reply.session.id } : undefined;
}
