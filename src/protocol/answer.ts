/**
 * Messages of servers: read strictly, and repaired where only the encoding or an error object is invalid.
 * A reply that is nested too deeply has a fault as well.
 * Guarantees: an envelope without `fault` is valid JSON in UTF-8 throughout, and its error has an integer code and a message; never throws.
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
  /** A message or an error above this is refused instead of repaired. */
  readonly repairBytes: number;
}

/** A request of a server with a longer id is not read, and so not refused. */
const REFUSED_ID_BYTES = 64 * 1024;

/** The options for messages of servers. An id above `idBytes` is read, so that its request can be refused. */
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
/** Where the id stands in a frame of the hub. */
const ID_FROM = '{"jsonrpc":"2.0","id":'.length;
/** For text that has been scanned. */
const LOOSE = { maxDepth: 4096, strict: false } as const;
/** What is nested deeper is not looked into at all. Walks over text that has been scanned go as deep. */
const DEEPEST = LOOSE.maxDepth - 8;
/** A longer id or code is none of an answer. */
const NUMBER_BYTES = 64;
/** Written out: `-3.2042e4` is the same number, and the hub looks for codes by their digits. */
const INTEGER = /^-?\d{1,15}$/;
/** Of a number that is read without a regular expression. */
const PLAIN_DIGITS = 15;
const ID = /^"?(\d{1,16}(?:\.\d{1,16})?(?:[eE][+-]?\d{1,2})?)"?$/;

/**
 * One message of a server. Refuses as `scanEnvelope` does. What is not UTF-8, and an error that is none of JSON-RPC, are repaired; a message that is
 * only invalid inside its strings, or too large to be repaired, has a `fault`.
 */
export function scanAnswer(bytes: Buffer, options: AnswerOptions): Outcome<Envelope> {
  const strict = scanEnvelope(bytes, options);
  return isRefusal(strict) ? atOnce(invalidAnswer(bytes, options, strict)) : valid(strict, options);
}

/** The same in steps of some milliseconds; a message below 256 KiB in one. */
export function* answerSteps(bytes: Buffer, options: AnswerOptions): Generator<void, Outcome<Envelope>> {
  if (bytes.length < LARGE_BYTES) return scanAnswer(bytes, options);
  // The places of what was walked over are those in the message.
  const text = yield* trimSteps(bytes);
  const walked = yield* walkMessage(text, options);
  if (walked.end === LONE) return yield* loneAnswer(text, options);
  const strict = scanEnvelope(text, { ...options, walked });
  return isRefusal(strict) ? yield* invalidAnswer(text, options, strict) : valid(strict, { ...options, walked });
}

/** Of text in which an escape is half of a surrogate pair. */
function* loneAnswer(text: Buffer, options: AnswerOptions): Generator<void, Outcome<Envelope>> {
  const found = yield* answerSteps(yield* loneSteps(yield* copySteps(text)), options);
  return isRefusal(found) ? found : { ...found, repaired: 'a string had half of a surrogate pair' };
}

function valid(message: Envelope, options: AnswerOptions): Envelope {
  return message.kind === 'reply' && message.error.at >= 0 ? errorReply(message, options) : message;
}

/** What can be understood of a message that is refused as it stands. */
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

/** The same for a batch (2025-03-26), each message for itself. */
export function scanAnswers(bytes: Buffer, max: number, options: AnswerOptions): Outcome<readonly Outcome<Envelope>[]> {
  return splitBatch(bytes, max, { ...options, strict: false }, (message) => scanAnswer(message, options));
}

/** The same in steps of some milliseconds; a batch below 256 KiB in one. */
export function* batchSteps(
  bytes: Buffer,
  max: number,
  options: AnswerOptions,
): Generator<void, Outcome<readonly Outcome<Envelope>[]>> {
  if (bytes.length < LARGE_BYTES) return scanAnswers(bytes, max, options);
  const text = yield* trimSteps(bytes);
  const loose = { ...options, strict: false };
  const spans = batchSpans(text, max, { ...loose, walked: yield* walkMessage(text, loose) });
  // Half of a surrogate pair is none of a walk that does not look into strings.
  if (isRefusal(spans) || spans === LONE) return spans === LONE ? new Refusal('parse-error') : spans;
  const messages: Outcome<Envelope>[] = []; // bounded by: max
  for (const { at, end } of spans) {
    messages.push(yield* answerSteps(text.subarray(at, end), options));
    yield;
  }
  return messages;
}

/** A reply that is nested too deeply, with that as its fault: of a list only the rows that are so must go. */
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
 * Returns the number that the id at `span` says, however it is spelled: `8192`, `"8192"`, `8192.0`, `819.2e1`. Undefined = it says no integer from 0 to
 * 2⁵³ − 1. The hub's own ids are such integers (`request-table.ts`); some JSON libraries write all numbers as floats, or all ids as strings.
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

/** Returns true for an error that names no request: its sender could not read the id, or wrote none. */
export function isNamelessError({ bytes, kind, id, error }: Envelope): boolean {
  return kind === 'reply' && error.at >= 0 && (id.at < 0 || bytes[id.at] === NULL);
}

/** Why a client could not understand this reply; undefined = it could. */
export function replyFault({ bytes, result, fault }: Envelope): string | undefined {
  if (fault !== undefined) return fault;
  // One that is empty stands for an empty object (`empty-result.ts`).
  const isResult = result.at < 0 || bytes[result.at] === OPEN_OBJECT || isEmpty(bytes, result);
  return isResult ? undefined : 'its result is not an object';
}

/** A longer error than clients get is cut here, where its members are known. */
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

/** Where the values of `keys` (ASCII) lie in the object that fills `bytes`, in one pass; ABSENT for those that are not there. */
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

/** The same in steps of some milliseconds. */
export function* memberSteps(bytes: Buffer, keys: readonly string[]): Generator<void, Span[]> {
  const isLarge = bytes.length >= LARGE_BYTES && bytes[0] === OPEN_OBJECT;
  return membersAt(bytes, keys, isLarge ? yield* walkAhead(bytes, 0, LOOSE) : undefined);
}
