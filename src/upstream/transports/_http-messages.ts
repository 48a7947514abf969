/**
 * JSON-RPC messages out of the bodies and event streams of HTTP answers.
 * Promises: a single message stays the bytes that came; limits hold before anything is parsed; what is not a message is a refusal, never a throw.
 * Does not: know exchanges. The scanner and the SSE decoder are `protocol/`'s.
 */
import type { Limits } from '../../config/limits.ts';
import { HubError } from '../../kernel/errors.ts';
import { isRefusal, type Outcome, Refusal } from '../../kernel/outcome.ts';
import { utf8Value } from '../../net/header-value.ts';
import { answerScan, isNamelessError, replyNumber, scanAnswer, scanAnswers } from '../../protocol/answer.ts';
import type { Envelope, Span } from '../../protocol/message.ts';
import { isBatch, scanEnvelope } from '../../protocol/scan.ts';
import { SseDecoder, type SseEvent } from '../../protocol/sse.ts';
import { rawErrorFrame } from '../../protocol/write.ts';

const HARMLESS_TWICE = new Set([
  'initialize',
  'ping',
  'tools/list',
  'prompts/list',
  'resources/list',
  'resources/templates/list',
]); // bounded by: this literal

/** For text that has been scanned, or written by the hub. */
const SCANNED = { maxDepth: 4096, maxIdBytes: 64, strict: false } as const;

type ScanLimits = Pick<Limits, 'bodyDepth' | 'idBytes' | 'batch' | 'answerValues' | 'paramsMembers' | 'repairBytes'>;

/** The message in `bytes`, or the messages of an array (servers of 2025-03-26 may send one). */
export function messagesIn(bytes: Buffer, limits: ScanLimits): Outcome<readonly Envelope[]> {
  if (isBatch(bytes)) return messagesInBatch(bytes, limits);
  const message = scanAnswer(bytes, answerScan(limits));
  return isRefusal(message) ? message : [message];
}

function messagesInBatch(bytes: Buffer, limits: ScanLimits): Outcome<readonly Envelope[]> {
  const pieces = scanAnswers(bytes, limits.batch, answerScan(limits));
  if (isRefusal(pieces)) return pieces;
  const messages: Envelope[] = []; // bounded by: limits.batch
  for (const piece of pieces) {
    if (isRefusal(piece)) return piece;
    messages.push(piece);
  }
  return messages;
}

/** Takes events that are no messages. */
export interface EventSink {
  /** `data` = of the event; `why` = the scanner's words. */
  take(data: Buffer, why: Refusal): void;
}

/** The messages on one event stream. Events that are none refuse the stream, or are passed over when `invalid` takes them. */
export class EventReader {
  readonly #decoder: SseDecoder;
  readonly #invalid: EventSink | undefined;
  readonly #limits: ScanLimits;
  #messages: Envelope[] = []; // bounded by: the events of one chunk
  #refusal: Refusal | undefined;
  #retryMs: number | undefined;
  #lastEventId: string | undefined;

  constructor(limits: ScanLimits & Pick<Limits, 'answerBytes'>, invalid?: EventSink) {
    this.#limits = limits;
    this.#invalid = invalid;
    this.#decoder = new SseDecoder(limits.answerBytes, (event) => this.#take(event));
  }

  /** ms of the last `retry:`; undefined = none yet. */
  get retryMs(): number | undefined {
    return this.#retryMs;
  }

  /** As the value of Last-Event-ID; undefined = none, or one that no header can carry. */
  get lastEventId(): string | undefined {
    return this.#lastEventId;
  }

  /** Refuses with `upstream-too-large` (one event above answerBytes) or `upstream-protocol`; the stream is of no use after that. */
  read(chunk: Buffer): Outcome<readonly Envelope[]> {
    this.#messages = [];
    try {
      this.#decoder.push(chunk);
    } catch (fault) {
      this.#refusal ??= new Refusal(fault instanceof HubError ? fault.code : 'upstream-protocol');
    }
    return this.#refusal ?? this.#messages;
  }

  #take(event: SseEvent): void {
    this.#retryMs = event.retryMs ?? this.#retryMs;
    if (event.id !== undefined) this.#lastEventId = eventIdValue(event.id);
    // Priming events (2025-11-25) have an id and no data; other event names are not ours.
    if (this.#refusal || event.data.length === 0 || event.event !== 'message') return;
    const found = messagesIn(event.data, this.#limits);
    if (!isRefusal(found)) this.#messages.push(...found);
    else if (this.#invalid) this.#invalid.take(event.data, found);
    else this.#refusal = found.code === 'upstream-too-large' ? found : new Refusal('upstream-protocol', found.message);
  }
}

/** Of a request's head, which servers take up to 8 or 16 KiB. */
const MAX_EVENT_ID_BYTES = 4096;

function eventIdValue(id: string): string | undefined {
  return id.length > MAX_EVENT_ID_BYTES ? undefined : utf8Value(id);
}

/** True when the reply carries this number as its id, in whatever spelling. */
export function isReplyTo({ bytes, id: span }: Envelope, id: number): boolean {
  return replyNumber(bytes, span) === id;
}

/** Returns the messages on the response to request `id`: an error that names no request is its answer, unless its own came with it. */
export function addressed(messages: readonly Envelope[], id: number | undefined): readonly Envelope[] {
  if (id === undefined || !messages.some(isNamelessError)) return messages;
  if (messages.some((message) => message.kind === 'reply' && isReplyTo(message, id))) return messages;
  return messages.map((message) => (isNamelessError(message) ? (asReplyTo(message, id) ?? message) : message));
}

function asReplyTo(message: Envelope, id: number): Envelope | undefined {
  const { bytes, error } = message;
  const own = scanEnvelope(rawErrorFrame(Buffer.from(String(id)), bytes.subarray(error.at, error.end)), SCANNED);
  if (isRefusal(own)) return undefined;
  // What is wrong with the text, and what was, is as true of it now.
  const { bytes: text, id: span, error: moved } = own;
  return { ...message, bytes: text, id: span, error: moved };
}

/** True for a frame that a server may execute twice without harm. */
export function isHarmlessTwice(frame: Buffer): boolean {
  const message = scanEnvelope(frame, SCANNED);
  return !isRefusal(message) && HARMLESS_TWICE.has(message.method);
}

/** −32000 for no request in particular: what servers made after the SDK's example answer (with 400) when they do not know a session. */
export function lostSessionError(message: Envelope): boolean {
  if (!isNamelessError(message)) return false;
  try {
    const error: unknown = JSON.parse(textOf(message.bytes, message.error));
    return typeof error === 'object' && error !== null && 'code' in error && error.code === -32000;
  } catch {
    return false;
  }
}

function textOf(bytes: Buffer, span: Span): string {
  return bytes.toString('utf8', span.at, span.end);
}
