/**
 * Reads the body of one HTTP response as JSON or as an event stream, whatever its media type says.
 * Guarantees: steps take a millisecond, except for a small JSON body; only a first byte or word of `{ [ : data: event:
 * id:` overrides the media type; an invalid event is skipped unless it should be the answer; nothing is kept beyond
 * `answerBytes`.
 */
import type { Limits } from '../../../config/limits.ts';
import type { HubError } from '../../../model/errors.ts';
import { isRefusal, type Outcome, type Refusal } from '../../../model/outcome.ts';
import type { ResponseHeaders } from '../../../net/egress.ts';
import { isNamelessError } from '../../../protocol/answer.ts';
import { brokenSteps } from '../../../protocol/broken-message.ts';
import type { Envelope } from '../../../protocol/message.ts';
import { LARGE_BYTES } from '../../../protocol/scan-steps.ts';
import { brokenFault } from '../../connection/invalid-answer.ts';
import type { ReadStep } from '../paced-reader.ts';
import type { ExchangeHost } from '../streamable-http/exchange-host.ts';
import { type AnswerKind, faultOf, headerOf, largeFault, mediaType, messageFault } from './answer.ts';
import { BodyCollector } from './body-collector.ts';
import { addressed, EventReader, isReplyTo, lostSessionError, messageSteps, messagesIn } from './messages.ts';

/** The kind of body according to the media type; `foreign` for other types. */
export type BodyKind = Extract<AnswerKind, 'json' | 'sse' | 'foreign'>;

const WORDS = ['data:', 'event:', 'id:'] as const;
const COLON = 0x3a;
const BLANK = 0x20;
const NOTHING = Buffer.alloc(0);

/** Returns the position after a byte order mark and white space. */
function textAt(first: Buffer): number {
  let at = first[0] === 0xef && first[1] === 0xbb && first[2] === 0xbf ? 3 : 0;
  while (at < first.length && (first[at] as number) <= BLANK) at += 1;
  return at;
}

/** Returns the kind of a body from its beginning: `foreign` for neither; undefined when more bytes are needed. */
export function bodyKindOf(first: Buffer): BodyKind | undefined {
  const at = textAt(first);
  if (at === first.length) return undefined;
  const byte = first[at];
  if (byte === 0x7b || byte === 0x5b) return 'json';
  if (byte === COLON) return 'sse';
  const text = first.toString('latin1', at, at + 6);
  if (WORDS.some((word) => text.startsWith(word))) return 'sse';
  return text.length < 6 && WORDS.some((word) => word.startsWith(text)) ? undefined : 'foreign';
}

/** Returns the messages in the body of an HTTP error, which may have any media type. */
function messagesInPage(body: Buffer, limits: Limits): Outcome<readonly Envelope[]> {
  if (bodyKindOf(body) !== 'sse') return messagesIn(body, limits);
  const messages: Envelope[] = []; // bounded by: errorBytes
  const reader = new EventReader(limits, { message: (message) => messages.push(message), *invalid() {} });
  // The end of the last event may be missing.
  reader.feed(Buffer.concat([body, Buffer.from('\n\n')]));
  while (reader.step() !== 'done');
  return reader.refusal ?? messages;
}

/** The content of the body of an HTTP error to request `id`. */
export interface ErrorBody {
  /** Errors for the request. */
  readonly replies: readonly Envelope[];
  /** The session may be unknown: 404, or 400 with −32000 and no request id. */
  readonly isSessionError: boolean;
}

/** Reads an error body. `id` is undefined for a notification. */
export function errorIn(bytes: Buffer, status: number, id: number | undefined, limits: Limits): ErrorBody {
  const messages = id === undefined ? [] : messagesInPage(bytes, limits);
  const message = isRefusal(messages) ? undefined : messages[0];
  if (id === undefined || message?.kind !== 'reply') return { replies: [], isSessionError: status === 404 };
  // In a refusal only an error that names the request is its answer.
  if ((status === 401 || status === 403) && !isReplyTo(message, id)) return { replies: [], isSessionError: false };
  const isLost = status === 404 || (status === 400 && lostSessionError(message));
  return { replies: addressed([message], id), isSessionError: isLost && !isReplyTo(message, id) };
}

export interface AnswerBodyParts {
  readonly host: Pick<ExchangeHost, 'server' | 'limits' | 'mislabelled'>;
  /** Of the request. */
  readonly id: number | undefined;
  readonly status: number;
  readonly headers: ResponseHeaders;
  /** According to its media type. */
  readonly declared: BodyKind;
  /** Called with each message. */
  readonly message: (message: Envelope) => void;
}

export class AnswerBody {
  readonly #parts: AnswerBodyParts;
  #kind: BodyKind | undefined;
  #first: Buffer | undefined;
  /** White space before the text, which is not kept. */
  #blankBytes = 0;
  #collector: BodyCollector | undefined;
  #reader: EventReader | undefined;
  #fault: HubError | undefined;
  #doubt: HubError | undefined;
  /** An error that names no request: it is the answer if no other comes with it. */
  #nameless: Envelope | undefined;
  /** Reads a long JSON body. */
  #work: Iterator<void, void> | undefined;

  constructor(parts: AnswerBodyParts) {
    this.#parts = parts;
    const { declared, headers, host } = parts;
    const length = Number(headerOf(headers, 'content-length') || 0);
    if (declared !== 'sse' && length > host.limits.answerBytes)
      this.#fault = largeFault(host.server, host.limits.answerBytes);
  }

  /** The kind according to its media type, until its first bytes arrive. */
  get kind(): BodyKind {
    return this.#kind ?? this.#parts.declared;
  }

  /** True when it contains no reply: no body, or text with HTTP 202. */
  get isEmpty(): boolean {
    return (
      (this.#kind === undefined && (this.#first?.length ?? 0) === 0) || (this.#isAccepted && this.#kind === 'foreign')
    );
  }

  get #isAccepted(): boolean {
    return this.#parts.status === 202;
  }

  get retryMs(): number | undefined {
    return this.#reader?.retryMs;
  }

  get lastEventId(): string | undefined {
    return this.#reader?.lastEventId;
  }

  /** Why the response is invalid, or larger than `answerBytes`; nothing more is read then. */
  get fault(): HubError | undefined {
    return this.#fault;
  }

  /** What is wrong with an event that should be an answer and names no request. A better one may follow. */
  get doubt(): HubError | undefined {
    return this.#doubt;
  }

  /** True when `step` must be called until it returns `done`, before anything is added. */
  get isUnread(): boolean {
    return this.#fault === undefined && (this.#reader !== undefined || this.#work !== undefined);
  }

  /** Events are read by `step`. */
  add(chunk: Buffer): void {
    const bytes = this.#kind === undefined ? this.#begin(chunk) : chunk;
    if (bytes === undefined || this.#fault) return;
    if (this.#reader) this.#reader.feed(bytes);
    else if (this.#collector?.add(bytes) === false)
      this.#fault = largeFault(this.#parts.host.server, this.#parts.host.limits.answerBytes);
  }

  /** The end of a JSON body has come. A large one is read by `step`. */
  end(): void {
    if (this.kind === 'foreign') this.#fault ??= this.#foreignFault();
    if (this.#fault) return;
    if ((this.#collector?.length ?? 0) >= LARGE_BYTES) this.#work = this.#bodySteps();
    else this.#bodyRead(this.#collector?.take() ?? this.#first ?? NOTHING);
  }

  step(): ReadStep {
    if (this.#fault) return 'done';
    if (this.#work) {
      if (!this.#work.next().done) return 'long';
      this.#work = undefined;
    }
    if (!this.#reader) return 'done';
    const step = this.#reader.step();
    if (step === 'done') this.#eventsRead(this.#reader);
    return step;
  }

  #eventsRead({ refusal }: EventReader): void {
    const nameless = this.#nameless;
    this.#nameless = undefined;
    if (nameless) for (const message of addressed([nameless], this.#parts.id)) this.#parts.message(message);
    if (refusal) this.#fault ??= messageFault(refusal, this.#parts.host, this.#parts.status);
  }

  #event(message: Envelope): void {
    const { id } = this.#parts;
    if (id !== undefined && isNamelessError(message)) this.#nameless ??= message;
    else {
      if (id !== undefined && message.kind === 'reply' && isReplyTo(message, id)) this.#nameless = undefined;
      this.#parts.message(message);
    }
  }

  *#bodySteps(): Generator<void, void> {
    const body = this.#collector ? yield* this.#collector.takeSteps() : NOTHING;
    this.#bodyRead(body, yield* messageSteps(body, this.#parts.host.limits));
  }

  #bodyRead(body: Buffer, messages = messagesIn(body, this.#parts.host.limits)): void {
    const { host, id, status, headers, message } = this.#parts;
    if (isRefusal(messages)) {
      if (messages.code === 'parse-error' && body.length > 0)
        this.#fault = this.#faultOf(body, messages, lengthWords(body, headers));
      this.#fault ??= messageFault(messages, host, status);
    } else for (const one of addressed(messages, id)) message(one);
  }

  #foreignFault(): HubError {
    const { host, status, headers } = this.#parts;
    return faultOf('foreign', host.server, status, headers);
  }

  /** Undefined = too little has come to tell. */
  #begin(chunk: Buffer): Buffer | undefined {
    const bytes = this.#first ? Buffer.concat([this.#first, chunk]) : chunk;
    const { declared, headers, host } = this.#parts;
    const { limits } = host;
    const found = bodyKindOf(bytes);
    if (found === undefined) {
      const at = textAt(bytes);
      this.#first = bytes.subarray(at);
      this.#blankBytes += at;
      if (this.#blankBytes > limits.answerBytes) this.#fault = largeFault(host.server, limits.answerBytes);
      return undefined;
    }
    this.#kind = found === 'foreign' ? declared : found;
    if (this.#kind !== declared) host.mislabelled(mediaType(headers), this.#kind);
    if (this.#kind === 'foreign') this.#fault = this.#isAccepted ? undefined : this.#foreignFault();
    else if (this.#kind === 'sse')
      this.#reader = new EventReader(limits, {
        message: (message) => this.#event(message),
        invalid: (data, why) => this.#invalid(data, why),
      });
    else this.#collector = new BodyCollector(limits.answerBytes);
    return bytes;
  }

  *#invalid(data: Buffer, why: Refusal): Generator<void, void> {
    const { host, id } = this.#parts;
    const { isAnswer, ids } = yield* brokenSteps(data, host.limits.batch, false);
    if (id === undefined || !isAnswer) return;
    if (ids.includes(id)) this.#fault ??= this.#faultOf(data, why);
    else if (ids.length === 0) this.#doubt = this.#faultOf(data, why);
  }

  #faultOf(data: Buffer, why: Refusal, about = ''): HubError {
    return brokenFault(this.#parts.host.server, why, data, about);
  }
}

/** A body that is cut off mostly has a wrong length, not wrong JSON. */
function lengthWords({ length }: Buffer, headers: ResponseHeaders): string {
  const isDeclared = Number(headerOf(headers, 'content-length') || -1) === length;
  return `, in a body of ${length} bytes${isDeclared ? ', which is its Content-Length' : ''}`;
}
