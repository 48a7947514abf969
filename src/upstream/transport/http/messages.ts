/**
 * Reads JSON-RPC messages from bodies and event streams of HTTP responses.
 * Guarantees: a single message keeps its bytes; limits are checked before anything is parsed; invalid messages are
 * refusals, never exceptions.
 */
import type { Limits } from '../../../config/limits.ts';
import { HubError } from '../../../model/errors.ts';
import { isRefusal, type Outcome, Refusal } from '../../../model/outcome.ts';
import { utf8Value } from '../../../net/header-value.ts';
import {
  answerScan,
  answerSteps,
  batchSteps,
  isNamelessError,
  replyNumber,
  scanAnswer,
} from '../../../protocol/answer.ts';
import type { Envelope, Span } from '../../../protocol/message.ts';
import { isBatch, scanEnvelope } from '../../../protocol/scan.ts';
import { LARGE_BYTES, trimSteps } from '../../../protocol/scan-steps.ts';
import { SseDecoder, type SseEvent } from '../../../protocol/sse.ts';
import { rawErrorFrame } from '../../../protocol/write.ts';
import { atOnce } from '../../../runtime/take-turn.ts';
import type { ReadStep } from '../paced-reader.ts';

const HARMLESS_TWICE = new Set([
  'initialize',
  'ping',
  'tools/list',
  'prompts/list',
  'resources/list',
  'resources/templates/list',
]); // bounded by: this literal

/** For text that was scanned before, or written by the hub. */
const SCANNED = { maxDepth: 4096, maxIdBytes: 64, strict: false } as const;

type ScanLimits = Pick<Limits, 'bodyDepth' | 'idBytes' | 'batch' | 'answerValues' | 'paramsMembers' | 'repairBytes'>;

/**
 * Returns the message in `text`, or those of an array (allowed in 2025-03-26), in steps of some milliseconds; in one
 * step below 256 KiB.
 */
export function* messageSteps(text: Buffer, limits: ScanLimits): Generator<void, Outcome<readonly Envelope[]>> {
  const bytes = text.length < LARGE_BYTES ? text : yield* trimSteps(text);
  if (!isBatch(bytes)) {
    const message = yield* answerSteps(bytes, answerScan(limits));
    return isRefusal(message) ? message : [message];
  }
  const pieces = yield* batchSteps(bytes, limits.batch, answerScan(limits));
  if (isRefusal(pieces)) return pieces;
  const messages: Envelope[] = []; // bounded by: limits.batch
  for (const piece of pieces) {
    if (isRefusal(piece)) return piece;
    messages.push(piece);
  }
  return messages;
}

/** Does the same at once, for text of a limited size. */
export function messagesIn(bytes: Buffer, limits: ScanLimits): Outcome<readonly Envelope[]> {
  return atOnce(messageSteps(bytes, limits));
}

/** Receives the events of a stream. */
export interface EventSink {
  message(message: Envelope): void;
  /** Called first with each event; returns true when it is no message. */
  readonly isOther?: (event: SseEvent) => boolean;
  /**
   * Called with an invalid event. `data`: its data; `why`: from the scanner. If absent, such an event ends the stream.
   */
  readonly invalid?: (data: Buffer, why: Refusal) => Generator<void, void>;
}

/** Reads the messages of one event stream in steps of at most a millisecond. */
export class EventReader {
  readonly #decoder: SseDecoder;
  readonly #sink: EventSink;
  readonly #limits: ScanLimits;
  #refusal: Refusal | undefined;
  #retryMs: number | undefined;
  #lastEventId: string | undefined;
  /** A long event, or an invalid one. */
  #work: { readonly step: ReadStep; readonly steps: Iterator<void, void> } | undefined;

  constructor(limits: ScanLimits & Pick<Limits, 'answerBytes'>, sink: EventSink) {
    this.#limits = limits;
    this.#sink = sink;
    this.#decoder = new SseDecoder(limits.answerBytes, (event) => this.#take(event));
  }

  /** The last `retry:` in ms; undefined when there was none. */
  get retryMs(): number | undefined {
    return this.#retryMs;
  }

  /** The value of Last-Event-ID; undefined when there is none, or it is not valid in a header. */
  get lastEventId(): string | undefined {
    return this.#lastEventId;
  }

  /** `upstream-too-large` (an event above answerBytes) or `upstream-protocol`; the stream is unusable then. */
  get refusal(): Refusal | undefined {
    return this.#refusal;
  }

  /**
   * Adds a chunk, which `step` reads; the previous one must have been read. The chunk must not be changed afterwards.
   */
  feed(chunk: Buffer): void {
    this.#decoder.feed(chunk);
  }

  step(): ReadStep {
    if (this.#refusal) return 'done';
    if (this.#work) {
      const { step, steps } = this.#work;
      if (!steps.next().done) return step;
      this.#work = undefined;
      return 'more';
    }
    try {
      const isMore = this.#decoder.step() || this.#work !== undefined;
      if (!isMore) return 'done';
    } catch (fault) {
      this.#refusal ??= new Refusal(fault instanceof HubError ? fault.code : 'upstream-protocol');
    }
    return this.#decoder.isLong ? 'long' : 'more';
  }

  #take(event: SseEvent): void {
    this.#retryMs = event.retryMs ?? this.#retryMs;
    if (event.id !== undefined) this.#lastEventId = eventIdValue(event.id);
    if (this.#refusal || this.#sink.isOther?.(event)) return;
    // Priming events (2025-11-25) have an id and no data; events with other names are ignored.
    if (event.data.length === 0 || event.event !== 'message') return;
    if (event.data.length >= LARGE_BYTES || isBatch(event.data)) {
      this.#work = { step: 'long', steps: this.#eventSteps(event.data) };
      return;
    }
    const message = scanAnswer(event.data, answerScan(this.#limits));
    if (isRefusal(message)) this.#refused(event.data, message);
    else this.#sink.message(message);
  }

  *#eventSteps(data: Buffer): Generator<void, void> {
    const found = yield* messageSteps(data, this.#limits);
    if (!isRefusal(found)) for (const message of found) this.#sink.message(message);
    else if (this.#sink.invalid) yield* this.#sink.invalid(data, found);
    else this.#refused(data, found);
  }

  #refused(data: Buffer, why: Refusal): void {
    const { invalid } = this.#sink;
    if (invalid) this.#work = { step: 'more', steps: invalid(data, why) };
    else this.#refusal = why.code === 'upstream-too-large' ? why : new Refusal('upstream-protocol', why.message);
  }
}

/** Part of a request's header section, for which servers accept 8 or 16 KiB. */
const MAX_EVENT_ID_BYTES = 4096;

function eventIdValue(id: string): string | undefined {
  return id.length > MAX_EVENT_ID_BYTES ? undefined : utf8Value(id);
}

/** Tells whether the reply has this number as its id, in any spelling. */
export function isReplyTo({ bytes, id: span }: Envelope, id: number): boolean {
  return replyNumber(bytes, span) === id;
}

/** Returns the messages for request `id`: an error without an id is its answer, unless its own came with it. */
export function addressed(messages: readonly Envelope[], id: number | undefined): readonly Envelope[] {
  if (id === undefined || !messages.some(isNamelessError)) return messages;
  if (messages.some((message) => message.kind === 'reply' && isReplyTo(message, id))) return messages;
  return messages.map((message) => (isNamelessError(message) ? (asReplyTo(message, id) ?? message) : message));
}

function asReplyTo(message: Envelope, id: number): Envelope | undefined {
  const { bytes, error } = message;
  const own = scanEnvelope(rawErrorFrame(Buffer.from(String(id)), bytes.subarray(error.at, error.end)), SCANNED);
  if (isRefusal(own)) return undefined;
  // What was found wrong or repaired in the text still applies.
  const { bytes: text, id: span, error: moved } = own;
  return { ...message, bytes: text, id: span, error: moved };
}

/** Tells whether a server may execute a frame twice without harm. */
export function isHarmlessTwice(frame: Buffer): boolean {
  const message = scanEnvelope(frame, SCANNED);
  return !isRefusal(message) && HARMLESS_TWICE.has(message.method);
}

/**
 * Tells whether it is an error −32000 without an id: servers based on the SDK's example send it (with 400) for an
 * unknown session.
 */
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
