/**
 * Scans bytes into an envelope: the positions of the id, method, params and result. Nothing inside params or results is
 * parsed, except for the name and token of a call.
 * Guarantees: one linear pass, no recursion. Accepts well-formed JSON only (strict mode: exactly RFC 8259, with U+FFFD
 * for lone surrogates; otherwise strings are skipped unchecked). Duplicate and look-alike control keys are refused, so
 * that all readers of the same bytes see the same message.
 * Source: JSON-RPC 2.0.
 */
import { isUtf8 } from 'node:buffer';
import { type Outcome, Refusal } from '../model/outcome.ts';
import { Members, type ParamsCount } from './_members.ts';
import { decodeStart, keyIs, skipSpace } from './_scalar.ts';
import { BAD, DEEP, LONE, MANY, QUOTE, withoutLoneSurrogates } from './_strict-string.ts';
import { UniqueKeys } from './_unique-keys.ts';
import { type Budget, eachElement, eachMember, skipValue, type WalkOptions } from './_value.ts';
import type { WalkedValues } from './_walked-values.ts';
import { ABSENT, type CallParams, type Envelope, type Params, type Progress, type Span } from './message.ts';

export interface ScanOptions {
  readonly maxDepth: number;
  readonly maxIdBytes: number;
  /** False only for text that was scanned strictly before. */
  readonly strict: boolean;
  /** Structural limits of messages from clients and from servers; without them only bytes and depth are limited. */
  readonly bounds?: BodyBounds;
  readonly answerBounds?: ParamsCount & { readonly answerValues: number };
  /** Large values of the message from `walkMessage`, with the same bytes and options. */
  readonly walked?: WalkedValues | undefined;
}

/** Limits of a walk over a client's body, which bound its time for any bytes. */
export interface BodyBounds {
  readonly bodyValues: number;
  readonly paramsMembers: number;
  readonly paramsValues: number;
  readonly paramsBytes: number;
  readonly batchBytes: number;
}

/** Returns the scan options for bodies of clients. */
export function clientScan(limits: BodyBounds & { readonly bodyDepth: number; readonly idBytes: number }): ScanOptions {
  return { maxDepth: limits.bodyDepth, maxIdBytes: limits.idBytes, strict: true, bounds: limits };
}

const OPEN_OBJECT = 0x7b;
const OPEN_ARRAY = 0x5b;
const NULL = 0x6e;
/** Options for text that was scanned before. */
const LOOSE = { maxDepth: 4096, strict: false } as const;
/** Longest progress token: it is repeated in every notification and must not be a payload. */
const MAX_TOKEN_BYTES = 1024;
/** Scans one message. Refuses with `parse-error`, `too-deep` or `invalid-request`. */
export function scanEnvelope(bytes: Buffer, options: ScanOptions): Outcome<Envelope> {
  return scanMessage(bytes, options, budgetOf(options));
}

/** Returns the number of values that a walk over a message may visit, or undefined when it is unlimited. */
export function budgetOf({ bounds, answerBounds }: ScanOptions): Budget | undefined {
  const values = bounds?.bodyValues ?? answerBounds?.answerValues;
  return values === undefined ? undefined : { values };
}

function scanMessage(bytes: Buffer, options: ScanOptions, budget: Budget | undefined): Outcome<Envelope> {
  const at = firstByte(bytes);
  if (at === bytes.length) return new Refusal('parse-error', 'The body is empty.');
  if (options.strict && !isUtf8(bytes)) return new Refusal('parse-error', 'The body is not valid UTF-8.');
  const { maxDepth, strict, bounds, answerBounds, walked } = options;
  const walk = { maxDepth, strict, budget, walked };
  if (bytes[at] !== OPEN_OBJECT) return notAnObject(bytes, at, options, budget);
  const inParams = bounds && budget ? { bounds, budget } : answerBounds;
  const members = new Members(bytes, options.maxIdBytes, inParams, budget);
  const end = eachMember(bytes, at, bytes.length, walk, members, (from, to) => members.innerOf(from, to));
  if (members.refusal) return members.refusal;
  if (end === LONE) {
    const found = scanMessage(withoutLoneSurrogates(bytes), { ...options, walked: undefined }, budgetOf(options));
    return found instanceof Refusal ? found : { ...found, repaired: 'a string had half of a surrogate pair' };
  }
  if (end < 0) return refusalOf(end, options);
  if (skipSpace(bytes, end, bytes.length) !== bytes.length)
    return new Refusal('parse-error', 'There is content after the JSON object.');
  return members.envelope(at, end);
}

function notAnObject(bytes: Buffer, at: number, options: ScanOptions, budget: Budget | undefined): Refusal {
  const end = options.walked?.end ?? skipValue(bytes, at, bytes.length, { ...options, budget });
  if (end < 0) return refusalOf(end, options);
  if (skipSpace(bytes, end, bytes.length) !== bytes.length) return new Refusal('parse-error');
  return new Refusal('invalid-request', 'A single message was expected: one JSON object.');
}

function refusalOf(fault: number, options: ScanOptions): Refusal {
  if (fault === MANY) return tooMany(options);
  return fault === DEEP
    ? new Refusal('too-deep', `The JSON is nested deeper than ${options.maxDepth} levels.`, { setting: 'bodyDepth' })
    : new Refusal('parse-error');
}

function tooMany({ bounds, answerBounds }: ScanOptions): Refusal {
  const setting = bounds ? 'bodyValues' : 'answerValues';
  const why = `The message has more than ${bounds?.bodyValues ?? answerBounds?.answerValues} JSON values.`;
  return new Refusal(bounds ? 'invalid-request' : 'upstream-too-large', why, { setting });
}

/** Returns the offset after a byte order mark and white space. */
export function firstByte(bytes: Buffer): number {
  return skipSpace(bytes, bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf ? 3 : 0, bytes.length);
}

/** Returns true when the body is an array of messages (2025-03-26). */
export function isBatch(bytes: Buffer): boolean {
  return bytes[firstByte(bytes)] === OPEN_ARRAY;
}

/** Scans the messages of a batch. An invalid or too deeply nested message does not affect the others. */
export function splitBatch(
  bytes: Buffer,
  max: number,
  options: ScanOptions,
  read: (message: Buffer, options: ScanOptions) => Outcome<Envelope> = scanEnvelope,
): Outcome<readonly Outcome<Envelope>[]> {
  const { bounds } = options;
  if (bounds && bytes.length > bounds.batchBytes) {
    const why = `A batch has at most ${bounds.batchBytes} bytes.`;
    return new Refusal('invalid-request', why, { setting: 'batchBytes' });
  }
  if (options.strict && !isUtf8(bytes)) return new Refusal('parse-error', 'The body is not valid UTF-8.');
  const spans = batchSpans(bytes, max, options);
  if (spans === LONE) return splitBatch(withoutLoneSurrogates(bytes), max, options, read);
  return spans instanceof Refusal ? spans : spans.map((span) => read(bytes.subarray(span.at, span.end), options));
}

/** Returns the spans of the messages of a batch, or LONE when, in strict mode, a string contains a lone surrogate. */
export function batchSpans(bytes: Buffer, max: number, options: ScanOptions): Outcome<readonly Span[]> | typeof LONE {
  const spans: Span[] = []; // bounded by: max
  const end = eachElement(bytes, firstByte(bytes), bytes.length, batchWalk(options), (at, to) => {
    spans.push({ at, end: to });
    return spans.length <= max;
  });
  if (end === LONE) return LONE;
  if (end < 0) return refusalOf(end, options);
  if (spans.length > max)
    return new Refusal('invalid-request', `A batch has at most ${max} messages.`, { setting: 'batch' });
  if (spans.length === 0) return new Refusal('invalid-request', 'The batch is empty.');
  if (skipSpace(bytes, end, bytes.length) !== bytes.length)
    return new Refusal('parse-error', 'There is content after the JSON array.');
  return spans;
}

/** Allows each message of a batch the full nesting depth. */
export function batchWalk(options: ScanOptions): WalkOptions {
  return { maxDepth: 65_536, strict: options.strict, budget: budgetOf(options), walked: options.walked };
}

/**
 * Returns the span of the value of `key` (ASCII) in the object at `object` (text that was scanned before), or ABSENT.
 * The first occurrence counts.
 */
export function memberSpan(bytes: Buffer, object: Span, key: string): Span {
  let found: Span = ABSENT;
  if (object.at < 0) return found;
  eachMember(bytes, object.at, object.end, LOOSE, {
    member(keyAt, keyEnd, at, end) {
      if (!keyIs(bytes, keyAt, keyEnd, key)) return true;
      found = { at, end };
      return false;
    },
  });
  return found;
}

/** Works like `memberSpan` on the params of a message, with the positions recorded by the first walk. */
export function paramSpan({ bytes, params, inParams }: Params, key: string): Span {
  if (inParams === undefined) return memberSpan(bytes, params, key);
  for (let i = 0; i < inParams.length; i += 4)
    if (keyIs(bytes, inParams[i] as number, inParams[i + 1] as number, key)) return spanAt(inParams, i + 2);
  return ABSENT;
}

function spanAt(places: readonly number[], i: number): Span {
  return { at: places[i] as number, end: places[i + 1] as number };
}

/**
 * Returns the decoded string at `span`, or undefined when it is not a string. Reads only about `maxBytes` of a longer
 * text.
 */
export function stringAt(bytes: Buffer, span: Span, maxBytes = Number.MAX_SAFE_INTEGER): string | undefined {
  return span.at >= 0 && bytes[span.at] === QUOTE ? decodeStart(bytes, span.at, span.end, maxBytes) : undefined;
}

/**
 * Reads the target and the progress token of a call: `params.name`, or `params.uri` of resources/read. Refuses with
 * `invalid-params` a missing target, and duplicate or look-alike members with which a server that ignores case (or
 * takes the last of two) would see another name or token than the hub.
 */
export function scanCallParams(from: Params, key: 'name' | 'uri' = 'name'): Outcome<CallParams> {
  const { bytes } = from;
  if (from.params.at < 0) return new Refusal('invalid-params', `params.${key} must be a string.`);
  const call = uniqueParams(from, [key, 'arguments', '_meta']);
  if (call instanceof Refusal) return call;
  const [nameSpan, argumentsSpan, metaSpan] = call as [Span, Span, Span];
  return callParams(bytes, { nameSpan, argumentsSpan, metaSpan }, `params.${key}`);
}

/** Reads the target of completion/complete, which is in `ref`; `of` is its kind. */
export function scanRefParams(from: Params): Outcome<CallParams & { readonly of: 'prompt' | 'resource' }> {
  const { bytes } = from;
  const outer = from.params.at < 0 ? [ABSENT, ABSENT] : uniqueParams(from, ['ref', '_meta']);
  if (outer instanceof Refusal) return outer;
  const [ref, metaSpan] = outer as [Span, Span];
  if (ref.at < 0 || bytes[ref.at] !== OPEN_OBJECT)
    return new Refusal('invalid-params', 'params.ref must be an object.');
  const inner = uniqueMembers(bytes, ref, ['type', 'name', 'uri']);
  if (inner instanceof Refusal) return inner;
  const [typeSpan, nameSpan, uriSpan] = inner as [Span, Span, Span];
  const type = stringAt(bytes, typeSpan);
  if (type !== 'ref/prompt' && type !== 'ref/resource')
    return new Refusal('invalid-params', 'params.ref.type must be "ref/prompt" or "ref/resource".');
  const of = type === 'ref/prompt' ? 'prompt' : 'resource';
  const [span, key] = of === 'prompt' ? [nameSpan, 'name'] : [uriSpan, 'uri'];
  const call = callParams(bytes, { nameSpan: span, argumentsSpan: ABSENT, metaSpan }, `params.ref.${key}`);
  return call instanceof Refusal ? call : { ...call, of };
}

/** Reads only the progress token, for a call whose name is not needed. */
export function scanProgress(from: Params): Outcome<Progress> {
  const { bytes, params } = from;
  const found = params.at < 0 || bytes[params.at] !== OPEN_OBJECT ? [ABSENT] : uniqueParams(from, ['_meta']);
  return found instanceof Refusal ? found : progressIn(bytes, found[0] as Span);
}

function callParams(
  bytes: Buffer,
  spans: Pick<CallParams, 'nameSpan' | 'argumentsSpan' | 'metaSpan'>,
  what: string,
): Outcome<CallParams> {
  const name = stringAt(bytes, spans.nameSpan);
  if (name === undefined) return new Refusal('invalid-params', `${what} must be a string.`);
  const progress = progressIn(bytes, spans.metaSpan);
  return progress instanceof Refusal ? progress : { name, ...spans, ...progress };
}

function progressIn(bytes: Buffer, meta: Span): Outcome<Progress> {
  const token = tokenIn(bytes, meta);
  if (token instanceof Refusal) return token;
  const progressToken = token.at < 0 ? undefined : bytes.toString('utf8', token.at, token.end);
  return { progressToken, progressTokenSpan: token };
}
const META_KEYS = ['progressToken'] as const;

function tokenIn(bytes: Buffer, meta: Span): Outcome<Span> {
  if (meta.at < 0 || bytes[meta.at] !== OPEN_OBJECT) return ABSENT;
  const found = uniqueMembers(bytes, meta, META_KEYS);
  if (found instanceof Refusal) return found;
  const token = found[0] as Span;
  if (token.at < 0 || bytes[token.at] === NULL) return ABSENT;
  const first = bytes[token.at] as number;
  if (first !== QUOTE && first !== 0x2d && !(first >= 0x30 && first <= 0x39))
    return new Refusal('invalid-params', 'The progressToken must be a string or a number.');
  if (token.end - token.at > MAX_TOKEN_BYTES)
    return new Refusal('invalid-params', `The progressToken is longer than ${MAX_TOKEN_BYTES} bytes.`);
  return token;
}

/** Returns the spans of the values of `keys`, in that order. Refuses duplicate and look-alike members. */
function uniqueMembers(bytes: Buffer, object: Span, keys: readonly string[]): Outcome<Span[]> {
  const seen = new UniqueKeys(bytes, keys);
  const end = eachMember(bytes, object.at, object.end, LOOSE, seen);
  return seen.fault ?? (end === BAD ? new Refusal('invalid-params') : seen.spans);
}

/** Works like `uniqueMembers` on the params of a message. */
function uniqueParams({ bytes, params, inParams }: Params, keys: readonly string[]): Outcome<Span[]> {
  if (inParams === undefined) return uniqueMembers(bytes, params, keys);
  const seen = new UniqueKeys(bytes, keys);
  for (let i = 0; i < inParams.length; i += 4)
    if (!seen.member(...(inParams.slice(i, i + 4) as [number, number, number, number]))) break;
  return seen.fault ?? seen.spans;
}
