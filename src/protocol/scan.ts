/**
 * From bytes to an envelope: where the id, the method, the params and the result lie. Nothing inside params or results is parsed.
 * Promises: one linear pass, no recursion; well-formed JSON only (strict mode: to the letter; else strings are jumped over); no duplicate and
 * no look-alike control keys, so that no two readers of the same bytes can see two different messages.
 * Source: JSON-RPC 2.0; reliability.md S19 (parser differentials).
 */
import { isUtf8 } from 'node:buffer';
import { type Outcome, Refusal } from '../kernel/outcome.ts';
import { BAD, DEEP, decodeString, eachElement, eachMember, type Member, skipSpace } from './_value.ts';
import { ABSENT, type CallParams, type Envelope, type Span } from './message.ts';

export interface ScanOptions {
  readonly maxDepth: number;
  readonly maxIdBytes: number;
  /** True for what clients send; false for servers' answers, which may be large. */
  readonly strict: boolean;
}

const OPEN_OBJECT = 0x7b;
const OPEN_ARRAY = 0x5b;
const QUOTE = 0x22;
const NULL = 0x6e;
/** Enough for any walk inside text that has been scanned already. */
const ANY_DEPTH = 4096;
const LOOSE = { maxDepth: ANY_DEPTH, strict: false } as const;

const CONTROL_KEYS: ReadonlySet<string> = new Set(['jsonrpc', 'id', 'method', 'params', 'result', 'error']);
const POISON_KEYS: ReadonlySet<string> = new Set(['__proto__', 'constructor', 'prototype']);

/** One message. Refuses with `parse-error`, `too-deep` or `invalid-request`. */
export function scanEnvelope(bytes: Buffer, options: ScanOptions): Outcome<Envelope> {
  const at = firstByte(bytes);
  if (bytes[at] !== OPEN_OBJECT)
    return bytes.length === at ? new Refusal('parse-error', 'The body is empty.') : notAnObject(bytes, at);
  if (options.strict && !isUtf8(bytes)) return new Refusal('parse-error', 'The body is not valid UTF-8.');
  const members = new Members(bytes, options);
  const end = eachMember(bytes, at, bytes.length, options, (member) => members.take(member));
  if (members.refusal) return members.refusal;
  if (end < 0) return refusalOf(end, options);
  if (skipSpace(bytes, end, bytes.length) !== bytes.length)
    return new Refusal('parse-error', 'Something follows the JSON object.');
  return members.envelope(at, end);
}

function notAnObject(bytes: Buffer, at: number): Refusal {
  return bytes[at] === OPEN_ARRAY
    ? new Refusal('invalid-request', 'A single message was expected, not an array.')
    : new Refusal('parse-error');
}

function refusalOf(fault: number, options: ScanOptions): Refusal {
  return fault === DEEP
    ? new Refusal('too-deep', `The JSON is nested deeper than ${options.maxDepth} levels.`, { setting: 'bodyDepth' })
    : new Refusal('parse-error');
}

/** Skips a byte order mark and white space. */
function firstByte(bytes: Buffer): number {
  return skipSpace(bytes, bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf ? 3 : 0, bytes.length);
}

/** Collects the envelope's members and says what is wrong with them. */
class Members {
  readonly #bytes: Buffer;
  readonly #options: ScanOptions;
  readonly #spans: Record<string, Span> = {};
  #others: string[] | undefined; // bounded by: bodyBytes; almost always absent
  refusal: Refusal | undefined;

  constructor(bytes: Buffer, options: ScanOptions) {
    this.#bytes = bytes;
    this.#options = options;
  }

  take({ key, at, end }: Member): boolean {
    if (CONTROL_KEYS.has(key)) {
      if (this.#spans[key]) return this.#refuse(`"${key}" stands in the message twice.`);
      this.#spans[key] = { at, end };
      return true;
    }
    if (POISON_KEYS.has(key) || CONTROL_KEYS.has(key.toLowerCase()))
      return this.#refuse(`The member ${JSON.stringify(key.slice(0, 40))} is not allowed in a message.`);
    if (this.#others?.includes(key))
      return this.#refuse(`${JSON.stringify(key.slice(0, 40))} stands in the message twice.`);
    this.#others ??= [];
    if (this.#others.length >= MAX_OTHERS) return this.#refuse('The message has too many members.');
    this.#others.push(key);
    return true;
  }

  #refuse(why: string): false {
    this.refusal = new Refusal('invalid-request', why);
    return false;
  }

  envelope(at: number, end: number): Outcome<Envelope> {
    const bytes = this.#bytes;
    const { jsonrpc, method, result, error } = this.#spans;
    if (!jsonrpc || bytes.toString('latin1', jsonrpc.at, jsonrpc.end) !== '"2.0"')
      return new Refusal('invalid-request', 'The member jsonrpc must be "2.0".');
    const id = this.#spans.id ?? ABSENT;
    const idFault = this.#idFault(id, method === undefined && error !== undefined);
    if (idFault) return new Refusal('invalid-request', idFault);
    const params = this.#params();
    if (params === undefined) return new Refusal('invalid-request', 'The member params must be an object.');
    const text = at === 0 && end === bytes.length ? bytes : bytes.subarray(at, end);
    const shift = (span: Span): Span => (at === 0 || span.at < 0 ? span : { at: span.at - at, end: span.end - at });
    const base = { bytes: text, id: shift(id), params: shift(params) };
    if (method) {
      const name = bytes[method.at] === QUOTE ? decodeString(bytes, method.at, method.end) : undefined;
      if (name === undefined || result || error)
        return new Refusal(
          'invalid-request',
          name === undefined ? 'The member method must be a string.' : 'A request has no result and no error.',
        );
      return { ...base, kind: id.at < 0 ? 'notification' : 'request', method: name, result: ABSENT, error: ABSENT };
    }
    if ((result === undefined) === (error === undefined) || id.at < 0) {
      return new Refusal('invalid-request', 'The message has neither a method nor an id with one of result and error.');
    }
    return { ...base, kind: 'reply', method: '', result: shift(result ?? ABSENT), error: shift(error ?? ABSENT) };
  }

  #idFault(id: Span, nullAllowed: boolean): string | undefined {
    if (id.at < 0) return undefined;
    if (id.end - id.at > this.#options.maxIdBytes) return `The id is longer than ${this.#options.maxIdBytes} bytes.`;
    const first = this.#bytes[id.at] as number;
    if (first === QUOTE || first === 0x2d || (first >= 0x30 && first <= 0x39)) return undefined;
    return first === NULL && nullAllowed ? undefined : 'The id must be a string or a number.';
  }

  /** Some clients write `"params":null`; that is none. */
  #params(): Span | undefined {
    const params = this.#spans.params;
    if (!params || this.#bytes[params.at] === NULL) return ABSENT;
    return this.#bytes[params.at] === OPEN_OBJECT ? params : undefined;
  }
}

const MAX_OTHERS = 64;

/** True when the body is an array of messages (2025-03-26). */
export function isBatch(bytes: Buffer): boolean {
  return bytes[firstByte(bytes)] === OPEN_ARRAY;
}

/** The messages of a batch, each for itself: one bad message spoils only itself. */
export function splitBatch(bytes: Buffer, max: number, options: ScanOptions): Outcome<readonly Outcome<Envelope>[]> {
  if (options.strict && !isUtf8(bytes)) return new Refusal('parse-error', 'The body is not valid UTF-8.');
  const spans: Span[] = []; // bounded by: max
  const at = firstByte(bytes);
  const end = eachElement(bytes, at, bytes.length, options, (from, to) => {
    spans.push({ at: from, end: to });
    return spans.length <= max;
  });
  if (end < 0) return refusalOf(end, options);
  if (spans.length > max)
    return new Refusal('invalid-request', `A batch has at most ${max} messages.`, { setting: 'batch' });
  if (spans.length === 0) return new Refusal('invalid-request', 'The batch is empty.');
  if (skipSpace(bytes, end, bytes.length) !== bytes.length)
    return new Refusal('parse-error', 'Something follows the JSON array.');
  return spans.map((span) => scanEnvelope(bytes.subarray(span.at, span.end), options));
}

/** Where the value of `key` lies in the object at `object` (text that has been scanned before); ABSENT if it is not there. The first one counts. */
export function memberSpan(bytes: Buffer, object: Span, key: string): Span {
  let found: Span = ABSENT;
  if (object.at < 0) return found;
  eachMember(bytes, object.at, object.end, LOOSE, (member) => {
    if (member.key !== key) return true;
    found = { at: member.at, end: member.end };
    return false;
  });
  return found;
}

/** The elements of the array at `array` (text that has been scanned before). Not an array: none. */
export function elementSpans(bytes: Buffer, array: Span, max: number): Span[] {
  const spans: Span[] = []; // bounded by: max
  if (array.at < 0) return spans;
  eachElement(bytes, array.at, array.end, LOOSE, (at, end) => {
    spans.push({ at, end });
    return spans.length < max;
  });
  return spans;
}

/** The decoded string at `span`, or undefined when something else stands there. */
export function stringAt(bytes: Buffer, span: Span): string | undefined {
  return span.at >= 0 && bytes[span.at] === QUOTE ? decodeString(bytes, span.at, span.end) : undefined;
}

/** Name, arguments and progress token of a call. Refuses a missing name and doubled members with `invalid-params`. */
export function scanCallParams(bytes: Buffer, params: Span): Outcome<CallParams> {
  let nameSpan = ABSENT;
  let argumentsSpan = ABSENT;
  let metaSpan = ABSENT;
  let doubled: string | undefined;
  const end = eachMember(bytes, params.at, params.end, LOOSE, ({ key, at, end: to }) => {
    const before =
      key === 'name' ? nameSpan : key === 'arguments' ? argumentsSpan : key === '_meta' ? metaSpan : ABSENT;
    if (before.at >= 0) doubled = key;
    else if (key === 'name') nameSpan = { at, end: to };
    else if (key === 'arguments') argumentsSpan = { at, end: to };
    else if (key === '_meta') metaSpan = { at, end: to };
    return doubled === undefined;
  });
  if (doubled !== undefined) return new Refusal('invalid-params', `"${doubled}" stands in params twice.`);
  if (end === BAD) return new Refusal('invalid-params');
  const name = stringAt(bytes, nameSpan);
  if (name === undefined) return new Refusal('invalid-params', 'params.name must be a string.');
  const progressTokenSpan =
    metaSpan.at >= 0 && bytes[metaSpan.at] === OPEN_OBJECT ? memberSpan(bytes, metaSpan, 'progressToken') : ABSENT;
  const progressToken =
    progressTokenSpan.at < 0 ? undefined : bytes.toString('utf8', progressTokenSpan.at, progressTokenSpan.end);
  return { name, nameSpan, argumentsSpan, metaSpan, progressToken, progressTokenSpan };
}
