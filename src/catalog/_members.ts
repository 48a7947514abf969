/**
 * Locates the members of a JSON object in its bytes, so that an item can be checked, repaired or renamed without being
 * rewritten.
 * Guarantees: linear in the bytes; too deep nesting ends the scan before anything is parsed. Values are not validated:
 * callers parse the spans that they need.
 */

/** `at` and `end` (exclusive) delimit the value; `keyAt` is the opening quote of the key. */
export interface Member {
  readonly key: string;
  readonly keyAt: number;
  readonly at: number;
  readonly end: number;
}

export interface Scan {
  /** Members in order; those before the fault when there is one. */
  readonly members: readonly Member[];
  /** Why the object is invalid, as the end of a sentence that begins with its name. */
  readonly fault: string | undefined;
}

/** Limits of a scan. */
export interface ScanLimits {
  readonly depth: number;
  /** Longest array or object as a value, bytes. Strings are not limited: skipping them is fast. */
  readonly valueBytes: number;
  readonly members: number;
}

/** Limits for text that was scanned before. */
export const RESCAN_LIMITS: ScanLimits = { depth: 10_000, valueBytes: 2 ** 40, members: 2 ** 30 };

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const COLON = 0x3a;
const OPEN_ARRAY = 0x5b;
const CLOSE_ARRAY = 0x5d;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;

export interface ByteSpan {
  readonly bytes: Buffer;
  readonly at: number;
  readonly end: number;
}

/** Scans the object that fills the span. */
export function scanMembers(piece: ByteSpan, ceilings: ScanLimits): Scan {
  const members: Member[] = [];
  return { members, fault: collect(piece, ceilings, members) };
}

const NO_OBJECT = 'is not a JSON object';
const TOO_MANY_MEMBERS = 'has too many members';
const DUPLICATE_KEY = 'has the same key twice';

function collect(piece: ByteSpan, ceilings: ScanLimits, members: Member[]): string | undefined {
  const { bytes, end } = piece;
  const seen = new Set<string>();
  let at = skipSpace(bytes, piece.at, end);
  if (bytes[at] !== OPEN_OBJECT) return NO_OBJECT;
  at = skipSpace(bytes, at + 1, end);
  if (at < end && bytes[at] === CLOSE_OBJECT) return isEnd(bytes, at + 1, end) ? undefined : NO_OBJECT;
  for (;;) {
    const member = scanMember({ bytes, at, end }, ceilings);
    if (typeof member === 'string') return member;
    if (seen.has(member.key)) return DUPLICATE_KEY;
    if (members.length >= ceilings.members) return TOO_MANY_MEMBERS;
    seen.add(member.key);
    members.push(member);
    at = skipSpace(bytes, member.end, end);
    const after = at < end ? bytes[at] : undefined;
    if (after === CLOSE_OBJECT) return isEnd(bytes, at + 1, end) ? undefined : NO_OBJECT;
    if (after !== COMMA) return NO_OBJECT;
    at = skipSpace(bytes, at + 1, end);
  }
}

function scanMember({ bytes, at: keyAt, end }: ByteSpan, ceilings: ScanLimits): Member | string {
  if (keyAt >= end || bytes[keyAt] !== QUOTE) return NO_OBJECT;
  const keyEnd = stringEnd(bytes, keyAt, end);
  const key = keyEnd < 0 ? undefined : decodeString(bytes, keyAt, keyEnd);
  if (key === undefined) return NO_OBJECT;
  const colon = skipSpace(bytes, keyEnd, end);
  if (colon >= end || bytes[colon] !== COLON) return NO_OBJECT;
  const at = skipSpace(bytes, colon + 1, end);
  const valueEnd = endOfValue({ bytes, at, end }, ceilings);
  if (valueEnd === TOO_DEEP) return `is nested deeper than ${ceilings.depth} levels (bodyDepth)`;
  if (valueEnd === TOO_LARGE) return `has a value of more than ${ceilings.valueBytes} bytes: ${key.slice(0, 40)}`;
  return valueEnd < 0 ? NO_OBJECT : { key, keyAt, at, end: valueEnd };
}

const BROKEN = -1;
const TOO_DEEP = -2;
const TOO_LARGE = -3;

function endOfValue({ bytes, at, end }: ByteSpan, ceilings: ScanLimits): number {
  if (at >= end) return BROKEN;
  const first = bytes[at];
  if (first === QUOTE) return stringEnd(bytes, at, end);
  if (first !== OPEN_OBJECT && first !== OPEN_ARRAY) return endOfScalar(bytes, at, end);
  const stop = Math.min(end, at + ceilings.valueBytes);
  // The outer object is one level.
  let depth = 1;
  for (let i = at; i < stop; i += 1) {
    const byte = bytes[i];
    if (byte === QUOTE) {
      const after = stringEnd(bytes, i, end);
      if (after < 0) return BROKEN;
      i = after - 1;
    } else if (byte === OPEN_OBJECT || byte === OPEN_ARRAY) {
      depth += 1;
      if (depth > ceilings.depth) return TOO_DEEP;
    } else if (byte === CLOSE_OBJECT || byte === CLOSE_ARRAY) {
      depth -= 1;
      if (depth === 1) return i + 1;
    }
  }
  return stop < end ? TOO_LARGE : BROKEN;
}

function endOfScalar(bytes: Buffer, at: number, end: number): number {
  let i = at;
  while (i < end) {
    const byte = bytes[i];
    if (byte === COMMA || byte === CLOSE_OBJECT || byte === CLOSE_ARRAY || isSpace(byte)) break;
    i += 1;
  }
  return i === at ? BROKEN : i;
}

/**
 * Returns the index after the closing quote of the string at `at`, or −1. Scans short strings in a loop, long ones with
 * the native search.
 */
function stringEnd(bytes: Buffer, at: number, end: number): number {
  let i = at + 1;
  for (;;) {
    const near = Math.min(i + 48, end);
    for (; i < near; i += 1) {
      const byte = bytes[i];
      if (byte === QUOTE) return i + 1;
      if (byte === BACKSLASH) i += 1;
    }
    if (i >= end) return BROKEN;
    const quote = bytes.indexOf(QUOTE, i);
    if (quote < 0 || quote >= end) return BROKEN;
    let slashes = 0;
    while (quote - 1 - slashes >= i && bytes[quote - 1 - slashes] === BACKSLASH) slashes += 1;
    i = quote + 1;
    if (slashes % 2 === 0) return i;
  }
}

/** Returns the text of a JSON string (the span includes the quotes); undefined = invalid. */
export function decodeString(bytes: Buffer, at: number, end: number): string | undefined {
  const text = bytes.toString('utf8', at + 1, end - 1);
  if (PLAIN.test(text)) return text;
  try {
    const value: unknown = JSON.parse(`"${text}"`);
    return typeof value === 'string' ? value : undefined;
  } catch {
    return undefined;
  }
}
const PLAIN = /^[\w$./ -]*$/;

/** Returns the object's text with values replaced, removed (`undefined`) or, for new keys, appended. */
export function rebuild(
  bytes: Buffer,
  members: readonly Member[],
  changes: ReadonlyMap<string, string | undefined>,
): string {
  const parts: string[] = [];
  for (const member of members) {
    if (!changes.has(member.key)) parts.push(bytes.toString('utf8', member.keyAt, member.end));
    else {
      const value = changes.get(member.key);
      if (value !== undefined) parts.push(`${JSON.stringify(member.key)}:${value}`);
    }
  }
  for (const [key, value] of changes) {
    if (value !== undefined && !members.some((member) => member.key === key))
      parts.push(`${JSON.stringify(key)}:${value}`);
  }
  return `{${parts.join(',')}}`;
}

function isEnd(bytes: Buffer, at: number, end: number): boolean {
  return skipSpace(bytes, at, end) === end;
}

function skipSpace(bytes: Buffer, from: number, end: number): number {
  let at = from;
  while (at < end && isSpace(bytes[at])) at += 1;
  return at;
}

function isSpace(byte: number | undefined): boolean {
  return byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09;
}
