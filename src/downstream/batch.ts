/**
 * Answers a JSON-RPC batch (2025-03-26): the messages run in parallel, and their answers form one JSON array.
 * Guarantees: the answers together have at most `batchAnswerBytes`; when they would exceed it, the remaining calls are
 * cancelled and each gets an error; answers are written as bytes, never joined as text.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { RequestPipeline } from '../call/pipeline.ts';
import type { Limits } from '../config/limits.ts';
import { isRefusal, Refusal } from '../model/outcome.ts';
import { type RefusedMessage, refusedMessage } from '../protocol/answer-id.ts';
import { type BackChannel, SILENT_BACK_CHANNEL } from '../protocol/back-channel.ts';
import { versionFromHeader } from '../protocol/era-2025/versions.ts';
import type { Envelope } from '../protocol/message.ts';
import { clientScan, scanEnvelope, splitBatch } from '../protocol/scan.ts';
import { refusalFrame } from '../protocol/write.ts';
import type { Runtime } from '../runtime/runtime.ts';
import type { Authorized } from './authorized.ts';
import { traceRefusal, writePieces, writeRefusal } from './http-answer.ts';
import { batchPiece } from './reply-frame.ts';
import { headerText } from './stateless.ts';

export interface BatchParts {
  readonly runtime: Pick<Runtime, 'openWork'>;
  readonly limits: Limits;
  readonly pipeline: RequestPipeline;
}

const UNKNOWN: RefusedMessage = { kind: 'unknown', idRaw: Buffer.from('null') };

/** The answers of one batch as they arrive, and their size. */
class BatchAnswers {
  readonly #maxBytes: number;
  /** Cancels calls that are still running. */
  readonly #cancels = new Set<() => void>(); // bounded by: messages of one batch
  #bytes = 0;
  #isFull = false;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  get isFull(): boolean {
    return this.#isFull;
  }

  onCancel(cancel: () => void): void {
    this.#cancels.add(cancel);
  }

  cancelAll(): void {
    const running = [...this.#cancels];
    this.#cancels.clear();
    for (const cancel of running) cancel();
  }

  /** Counts an answer; returns an error in its place when it does not fit. */
  take(message: Envelope, piece: Buffer | undefined): Buffer | undefined {
    if (piece === undefined) return undefined;
    if (!this.#isFull && this.#bytes + piece.length <= this.#maxBytes) {
      this.#bytes += piece.length;
      return piece;
    }
    const isFirst = !this.#isFull;
    this.#isFull = true;
    if (isFirst) this.cancelAll();
    const { bytes, id } = message;
    return refusalFrame(bytes.subarray(id.at, id.end), tooLarge(this.#maxBytes));
  }
}

function tooLarge(maxBytes: number): Refusal {
  return new Refusal('batch-too-large', `The responses of this batch are larger than ${maxBytes} bytes.`, {
    setting: 'batchAnswerBytes',
  });
}

/** Refuses what concerns the exchange and no single message: the session, and the version in its header. */
function refuseExchange(
  request: IncomingMessage,
  pipeline: RequestPipeline,
  { context, caller }: CallerOf,
): Refusal | undefined {
  const session = pipeline.findSession(context, caller);
  if (isRefusal(session)) return session;
  const version = versionFromHeader(headerText(request, 'mcp-protocol-version'));
  return isRefusal(version) ? version : undefined;
}

type CallerOf = Pick<Authorized, 'context' | 'caller'>;

/**
 * Returns the handler of batches; it answers when the last message has its answer, and not after the client has
 * disconnected.
 */
export function createBatch({ runtime, limits, pipeline }: BatchParts) {
  return async function answerBatch(
    request: IncomingMessage,
    response: ServerResponse,
    body: Buffer,
    { context, caller }: CallerOf,
  ): Promise<void> {
    // No client waits for its answers any more.
    if (response.destroyed) return;
    const refusal = refuseExchange(request, pipeline, { context, caller });
    if (refusal) return writeRefusal(response, refusal, undefined, request);
    const refused = new Map<Refusal, RefusedMessage>(); // bounded by: messages of one batch
    const messages = splitBatch(body, limits.batch, clientScan(limits), (bytes, options) => {
      const message = scanEnvelope(bytes, options);
      if (isRefusal(message)) refused.set(message, refusedMessage(bytes, message));
      return message;
    });
    if (isRefusal(messages)) return writeRefusal(response, messages);
    const open = runtime.openWork.add('batch', caller);
    if (isRefusal(open)) return writeRefusal(response, open);
    const answers = new BatchAnswers(limits.batchAnswerBytes);
    // Answers that have arrived are not for this key any more either.
    open.onEnd((why) => writeRefusal(response, why));
    let isOver = false;
    response.once('close', () => {
      if (!isOver) answers.cancelAll();
    });
    const back: BackChannel = { ...SILENT_BACK_CHANNEL, refused: (why) => traceRefusal(response, why) };
    const pieces = messages.map(async (message) => {
      if (isRefusal(message)) {
        traceRefusal(response, message);
        const { kind, idRaw } = refused.get(message) ?? UNKNOWN;
        // A notification or a reply gets no answer.
        const isAnswered = kind === 'request' || kind === 'unknown';
        return isAnswered ? refusalFrame(idRaw, message) : undefined;
      }
      const outcome = await pipeline.answer({
        envelope: message,
        context,
        back,
        // Its answer is no stream to which a client could return.
        isLostWhenGone: true,
        onGone: (cancel) => answers.onCancel(cancel),
      });
      return answers.take(message, batchPiece(message, outcome));
    });
    const written = (await Promise.all(pieces)).filter((piece) => piece !== undefined);
    isOver = true;
    open.close();
    if (open.ended) return;
    if (written.length === 0) response.writeHead(202, { 'content-length': 0 }).end();
    else writePieces(response, arrayOf(written));
  };
}

const OPEN = Buffer.from('[');
const COMMA = Buffer.from(',');
const CLOSE = Buffer.from(']');

function arrayOf(items: readonly Buffer[]): Buffer[] {
  return [OPEN, ...items.flatMap((item, index) => (index === 0 ? [item] : [COMMA, item])), CLOSE];
}
