/**
 * Finds the end of JSON values and strings in bytes, without parsing them.
 * Guarantees: linear in the bytes; nothing is read at or after `end`. Values are not validated.
 */

/** Limits of a scan. */
export interface ScanLimits {
  readonly depth: number;
  /** Longest array or object as a value, bytes. Strings are not limited: skipping them is fast. */
  readonly valueBytes: number;
  readonly members: number;
}

/** Bytes of JSON's structure. */
export const QUOTE = 0x22;
const BACKSLASH = 0x5c;
export const COMMA = 0x2c;
const OPEN_ARRAY = 0x5b;
const CLOSE_ARRAY = 0x5d;
export const OPEN_OBJECT = 0x7b;
export const CLOSE_OBJECT = 0x7d;

export interface ByteSpan {
  readonly bytes: Buffer;
  readonly at: number;
  readonly end: number;
}

/** Faults of a scan; all are negative. */
const BROKEN = -1;
export const TOO_DEEP = -2;
export const TOO_LARGE = -3;

/** Returns the index after the value at `at`, or a negative fault: broken, `TOO_DEEP` or `TOO_LARGE`. */
export function endOfValue({ bytes, at, end }: ByteSpan, ceilings: ScanLimits): number {
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
export function stringEnd(bytes: Buffer, at: number, end: number): number {
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

/** Returns the index of the next byte that is not white space, at most `end`. */
export function skipSpace(bytes: Buffer, from: number, end: number): number {
  let at = from;
  while (at < end && isSpace(bytes[at])) at += 1;
  return at;
}

function isSpace(byte: number | undefined): boolean {
  return byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09;
}
