/**
 * Reads messages of servers strictly, and repairs those whose only fault is the encoding or the error object.
 * Guarantees: an envelope without `fault` is valid JSON in UTF-8, and its error has an integer code and a message. A
 * reply that is nested too deeply has a fault. Never throws.
 * Source: JSON-RPC 2.0 §5; RFC 8259 §7, §8.1; RFC 7493 §2.1.
 */
import { isUtf8 } from 'node:buffer';
import { isRefusal, type Outcome, Refusal } from '../model/outcome.ts';
import { copySteps } from '../runtime/copy-steps.ts';
import { atOnce } from '../runtime/take-turn.ts';
import { walkAhead } from './_ahead.ts';
import { keyIs } from './_scalar.ts';
import { LONE, loneSteps } from './_strict-string.ts';
import { eachMember } from './_value.ts';
import type { WalkedValues } from './_walked-values.ts';
import { ABSENT, type Envelope, type Span } from './message.ts';
import { isEmpty } from './object-params.ts';
import { batchSpans, type ScanOptions, scanEnvelope, splitBatch, stringAt } from './scan.ts';
import { LARGE_BYTES, trimSteps, walkMessage } from './scan-steps.ts';
import { ERROR_BYTES, shortenedError } from './shortened-error.ts';
import { soleMember } from './sole-member.ts';
import { validError } from './valid-error.ts';
import { rawErrorFrame, withValue } from './write.ts';

export interface AnswerOptions extends Pick<ScanOptions, 'maxDepth' | 'maxIdBytes' | 'answerBounds' | 'walked'> {
  readonly strict: true;
  /** A larger message or error is refused instead of repaired. */
  readonly repairBytes: number;
}

/** A server's request with a longer id is not read, and therefore gets no error response. */
const REFUSED_ID_BYTES = 64 * 1024;

/**
 * Returns the scan options for messages of servers. Ids longer than `idBytes` are read, so that their requests can be
 * refused.
 */
export function answerScan(
  limits: NonNullable<ScanOptions['answerBounds']> & {
    readonly bodyDepth: number;
    readonly idBytes: number;
    readonly repairBytes: number;
  },
): AnswerOptions {
  const { bodyDepth, idBytes, repairBytes } = limits;
  return {
    maxDepth: bodyDepth,
    maxIdBytes: Math.max(idBytes, REFUSED_ID_BYTES),
    answerBounds: limits,
    strict: true,
    repairBytes,
  };
}

const OPEN_OBJECT = 0x7b;
const NULL = 0x6e;
const NULL_ID = Buffer.from('null');
/** Offset of the id in a frame that the hub writes. */
const ID_FROM = '{"jsonrpc":"2.0","id":'.length;
/** Options for text that was scanned before. */
const LOOSE = { maxDepth: 4096, strict: false } as const;
/** Deeper text is not inspected at all. Walks over scanned text have the same limit. */
const DEEPEST = LOOSE.maxDepth - 8;
/** A longer number cannot be the id or code of a reply. */
const NUMBER_BYTES = 64;
/**
 * Error codes are normalised to plain digits, because the hub searches for them as text; `-3.2042e4` is the same
 * number.
 */
const INTEGER = /^-?\d{1,15}$/;
/** Digits of a number that is read without a regular expression. */
const PLAIN_DIGITS = 15;
const ID = /^"?(\d{1,16}(?:\.\d{1,16})?(?:[eE][+-]?\d{1,2})?)"?$/;

/**
 * Reads one message of a server. Refuses the same messages as `scanEnvelope`. Repairs invalid UTF-8 and invalid
 * JSON-RPC errors. A message that is invalid only inside its strings, or too large to repair, gets a `fault`.
 */
export function scanAnswer(bytes: Buffer, options: AnswerOptions): Outcome<Envelope> {
  const strict = scanEnvelope(bytes, options);
  return isRefusal(strict) ? atOnce(invalidAnswer(bytes, options, strict)) : valid(strict, options);
}

/** Works like `scanAnswer` in steps of a few milliseconds; messages below 256 KiB take one step. */
export function* answerSteps(bytes: Buffer, options: AnswerOptions): Generator<void, Outcome<Envelope>> {
  if (bytes.length < LARGE_BYTES) return scanAnswer(bytes, options);
  // The recorded positions are those in the trimmed text.
  const text = yield* trimSteps(bytes);
  const walked = yield* walkMessage(text, options);
  if (walked.end === LONE) return yield* loneAnswer(text, options);
  const strict = scanEnvelope(text, { ...options, walked });
  return isRefusal(strict) ? yield* invalidAnswer(text, options, strict) : valid(strict, { ...options, walked });
}

/** Reads text that contains a lone surrogate escape. */
function* loneAnswer(text: Buffer, options: AnswerOptions): Generator<void, Outcome<Envelope>> {
  const found = yield* answerSteps(yield* loneSteps(yield* copySteps(text)), options);
  return isRefusal(found) ? found : { ...found, repaired: 'a string had half of a surrogate pair' };
}

function valid(message: Envelope, options: AnswerOptions): Envelope {
  return message.kind === 'reply' && message.error.at >= 0 ? errorReply(message, options) : message;
}

/** Reads as much as possible of a message that was refused. */
function* invalidAnswer(bytes: Buffer, options: AnswerOptions, why: Refusal): Generator<void, Outcome<Envelope>> {
  if (why.code === 'too-deep') return yield* deepReply(bytes, options, why);
  if (why.code !== 'parse-error') return why;
  const isText = isUtf8(bytes);
  if (!isText && bytes.length <= options.repairBytes) {
    const repaired = yield* answerSteps(Buffer.from(bytes.toString('utf8')), options);
    return isRefusal(repaired) ? repaired : { ...repaired, repaired: 'it was not UTF-8' };
  }
  const loose = yield* looseSteps(bytes, { ...options, strict: false });
  if (isRefusal(loose)) return loose;
  return { ...loose, fault: isText ? 'a string holds what JSON does not allow' : 'it is not UTF-8' };
}

function* looseSteps(bytes: Buffer, options: ScanOptions): Generator<void, Outcome<Envelope>> {
  if (bytes.length < LARGE_BYTES) return scanEnvelope(bytes, options);
  return scanEnvelope(bytes, { ...options, walked: yield* walkMessage(bytes, options) });
}

/** Reads a batch (2025-03-26); each message succeeds or fails on its own. */
export function scanAnswers(bytes: Buffer, max: number, options: AnswerOptions): Outcome<readonly Outcome<Envelope>[]> {
  return splitBatch(bytes, max, { ...options, strict: false }, (message) => scanAnswer(message, options));
}

/** Works like `scanAnswers` in steps of a few milliseconds; batches below 256 KiB take one step. */
export function* batchSteps(
  bytes: Buffer,
  max: number,
  options: AnswerOptions,
): Generator<void, Outcome<readonly Outcome<Envelope>[]>> {
  if (bytes.length < LARGE_BYTES) return scanAnswers(bytes, max, options);
  const text = yield* trimSteps(bytes);
  const loose = { ...options, strict: false };
  const spans = batchSpans(text, max, { ...loose, walked: yield* walkMessage(text, loose) });
  // A walk that does not inspect strings cannot return LONE.
  if (isRefusal(spans) || spans === LONE) return spans === LONE ? new Refusal('parse-error') : spans;
  const messages: Outcome<Envelope>[] = []; // bounded by: max
  for (const { at, end } of spans) {
    messages.push(yield* answerSteps(text.subarray(at, end), options));
    yield;
  }
  return messages;
}

/**
 * Returns a reply that is nested too deeply, with that as its fault: in a list, only the affected rows must be removed.
 */
function* deepReply(bytes: Buffer, options: AnswerOptions, why: Refusal): Generator<void, Outcome<Envelope>> {
  if (options.maxDepth >= DEEPEST) return why;
  const deep = yield* answerSteps(bytes, { ...options, maxDepth: DEEPEST });
  if (isRefusal(deep) || deep.kind !== 'reply') return why;
  return { ...deep, fault: `it is nested deeper than ${options.maxDepth} levels`, faultSetting: 'bodyDepth' };
}

function errorReply(reply: Envelope, { repairBytes, walked }: AnswerOptions): Envelope {
  const { bytes, error } = reply;
  if (isError(bytes, error, walked)) return walked ? shortenedReply(reply, walked) : reply;
  const why = 'its error is not an object with an integer code and a message';
  if (error.end - error.at > repairBytes) return { ...reply, fault: why };
  return { ...withValue(reply, error, validError(bytes.subarray(error.at, error.end))), repaired: why };
}

/**
 * Returns the number that the id at `span` stands for, in any spelling (`8192`, `"8192"`, `8192.0`, `819.2e1`), or
 * undefined when it is not an integer from 0 to 2⁵³ − 1. The hub's own ids are such integers (`request-table.ts`); some
 * JSON libraries write all numbers as floats, or all ids as strings.
 */
export function replyNumber(bytes: Buffer, { at, end }: Span): number | undefined {
  if (at < 0) return undefined;
  let value = 0;
  let digits = 0;
  for (let i = at; i < end; i += 1) {
    const digit = (bytes[i] as number) - 0x30;
    if (digit < 0 || digit > 9 || digits === PLAIN_DIGITS) return spelledNumber(bytes, at, end);
    value = value * 10 + digit;
    digits += 1;
  }
  return digits === 0 ? undefined : value;
}

function spelledNumber(bytes: Buffer, at: number, end: number): number | undefined {
  if (end - at > NUMBER_BYTES) return undefined;
  const found = ID.exec(bytes.toString('latin1', at, end));
  const value = found ? Number(found[1]) : Number.NaN;
  return Number.isSafeInteger(value) ? value : undefined;
}

/** Returns true for an error without a request id: its sender could not read the id, or did not write one. */
export function isNamelessError({ bytes, kind, id, error }: Envelope): boolean {
  return kind === 'reply' && error.at >= 0 && (id.at < 0 || bytes[id.at] === NULL);
}

/** Returns why a client could not parse this reply, or undefined when it could. */
export function replyFault({ bytes, result, fault }: Envelope): string | undefined {
  if (fault !== undefined) return fault;
  // An empty value stands for an empty object (`empty-result.ts`).
  const isResult = result.at < 0 || bytes[result.at] === OPEN_OBJECT || isEmpty(bytes, result);
  return isResult ? undefined : 'its result is not an object';
}

/** Shortens an error that exceeds the size that clients get, while the positions of its members are known. */
function shortenedReply(reply: Envelope, walked: WalkedValues): Envelope {
  const { bytes, error, id } = reply;
  if (error.end - error.at <= ERROR_BYTES) return reply;
  const head = id.at < 0 ? NULL_ID : bytes.subarray(id.at, id.end);
  const short = shortenedError(bytes, error, walked);
  const text = rawErrorFrame(head, short);
  const from = text.length - 1 - short.length;
  const idAt = text.indexOf(head, ID_FROM);
  return {
    ...reply,
    bytes: text,
    id: { at: idAt, end: idAt + head.length },
    error: { at: from, end: text.length - 1 },
  };
}

function isError(bytes: Buffer, error: Span, walked: WalkedValues | undefined): boolean {
  if (error.at < 0 || bytes[error.at] !== OPEN_OBJECT) return false;
  const code = soleMember(bytes, error, 'code', walked);
  if (code === ABSENT || code.end - code.at > NUMBER_BYTES) return false;
  return (
    INTEGER.test(bytes.toString('latin1', code.at, code.end)) &&
    stringAt(bytes, soleMember(bytes, error, 'message', walked), 1) !== undefined
  );
}

/**
 * Returns the spans of the values of `keys` (ASCII) in the object that fills `bytes`, in one pass; ABSENT for missing
 * ones.
 */
export function membersAt(bytes: Buffer, keys: readonly string[], walked?: WalkedValues): Span[] {
  const spans = keys.map(() => ABSENT);
  eachMember(
    bytes,
    0,
    bytes.length,
    { ...LOOSE, walked },
    {
      member(keyAt, keyEnd, at, end) {
        const which = keys.findIndex((key) => keyIs(bytes, keyAt, keyEnd, key));
        if (which >= 0 && spans[which] === ABSENT) spans[which] = { at, end };
        return true;
      },
    },
  );
  return spans;
}

/** Works like `membersAt` in steps of a few milliseconds. */
export function* memberSteps(bytes: Buffer, keys: readonly string[]): Generator<void, Span[]> {
  const isLarge = bytes.length >= LARGE_BYTES && bytes[0] === OPEN_OBJECT;
  return membersAt(bytes, keys, isLarge ? yield* walkAhead(bytes, 0, LOOSE) : undefined);
}
