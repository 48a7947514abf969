/**
 * One POST and its answer: plain JSON, or SSE as soon as something has to go out before the result.
 * Promises: exactly one answer; JSON unless the client accepts SSE and there is a reason for it (a notification for this call, or a
 * long silence that proxies would cut); nothing is sent after the answer.
 * Source: protocol.md §0.5.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Reply } from '../call/call.ts';
import { isRefusal, type Outcome } from '../kernel/outcome.ts';
import type { BackChannel } from '../protocol/back-channel.ts';
import type { Envelope } from '../protocol/message.ts';
import { notificationFrame, refusalFrame } from '../protocol/write.ts';
import { writeFrame, writeRefusal } from './http-answer.ts';
import type { SseStream, Streams } from './streams.ts';

const RESULT_HEAD = Buffer.from('{"jsonrpc":"2.0","id":');
const RESULT_MEMBER = Buffer.from(',"result":');
const ERROR_MEMBER = Buffer.from(',"error":');
const TAIL = Buffer.from('}');

export class Exchange implements BackChannel {
  readonly #request: IncomingMessage;
  readonly #response: ServerResponse;
  readonly #streams: Streams;
  readonly #idRaw: Buffer;
  readonly #acceptsSse: boolean;
  #stream: SseStream | undefined;
  #answered = false;
  readonly progressToken = undefined;

  constructor(request: IncomingMessage, response: ServerResponse, parts: { envelope: Envelope; streams: Streams }) {
    this.#request = request;
    this.#response = response;
    this.#streams = parts.streams;
    const { bytes, id } = parts.envelope;
    this.#idRaw = id.at < 0 ? NULL_ID : bytes.subarray(id.at, id.end);
    this.#acceptsSse = request.headers.accept?.includes('text/event-stream') ?? false;
  }

  /** Opens the stream early, so that keep-alives can flow. No effect when the client does not accept SSE. */
  becomeStream(): void {
    if (this.#answered || this.#stream || !this.#acceptsSse || this.#response.headersSent) return;
    const stream = this.#streams.open(this.#response, {}, () => {});
    if (!isRefusal(stream)) this.#stream = stream;
  }

  notify(method: string, params: Buffer): void {
    if (this.#answered) return;
    this.becomeStream();
    this.#stream?.send(notificationFrame(method, params));
  }

  answer(outcome: Outcome<Reply>): void {
    if (this.#answered) return;
    this.#answered = true;
    if (this.#stream) this.#answerOnStream(this.#stream, outcome);
    else this.#answerAsJson(outcome);
  }

  #answerAsJson(outcome: Outcome<Reply>): void {
    if (isRefusal(outcome)) {
      writeRefusal(this.#response, outcome, this.#idRaw, this.#request);
      return;
    }
    if (outcome.kind === 'accepted') {
      if (!this.#response.destroyed) this.#response.writeHead(202, { 'content-length': 0 }).end();
      return;
    }
    writeFrame(this.#response, this.#pieces(outcome), sessionHeader(outcome));
  }

  #answerOnStream(stream: SseStream, outcome: Outcome<Reply>): void {
    if (isRefusal(outcome)) stream.send(refusalFrame(this.#idRaw, outcome));
    else if (outcome.kind !== 'accepted') {
      const { head, middle, tail } = this.#pieces(outcome);
      stream.send(Buffer.concat([head, middle, tail]));
    }
    stream.close('answered');
  }

  #pieces(reply: Reply & { json: Buffer }): { head: Buffer; middle: Buffer; tail: Buffer } {
    return {
      head: Buffer.concat([RESULT_HEAD, this.#idRaw, reply.kind === 'error' ? ERROR_MEMBER : RESULT_MEMBER]),
      middle: reply.json,
      tail: TAIL,
    };
  }
}

const NULL_ID = Buffer.from('null');

function sessionHeader(reply: Reply): Record<string, string> | undefined {
  return reply.kind === 'result' && reply.session ? { 'mcp-session-id': reply.session.id } : undefined;
}

/** One answer of a batch, as text. Undefined = nothing is answered to it. */
export function batchPiece(envelope: Envelope, outcome: Outcome<Reply>): Buffer | undefined {
  if (envelope.kind !== 'request') return undefined;
  const idRaw = envelope.bytes.subarray(envelope.id.at, envelope.id.end);
  if (isRefusal(outcome)) return refusalFrame(idRaw, outcome);
  if (outcome.kind === 'accepted') return undefined;
  return Buffer.concat([
    RESULT_HEAD,
    idRaw,
    outcome.kind === 'error' ? ERROR_MEMBER : RESULT_MEMBER,
    outcome.json,
    TAIL,
  ]);
}
