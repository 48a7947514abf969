/**
 * Scans the leaves of JSON text (strings, numbers, literals, white space); the byte loops used by `_value.ts`.
 * Guarantees: linear time. Strict mode accepts exactly RFC 8259 without lone surrogates (RFC 7493 §2.1); the other mode
 * skips long strings with native searches, for messages of many megabytes.
 */
import { BAD, indexWithin, NEVER, pausedFrom, QUOTE, skipStrictString, WINDOW_BYTES } from './_strict-string.ts';

const BACKSLASH = 0x5c;
const MINUS = 0x2d;
const ZERO = 0x30;
const NINE = 0x39;
/** Bytes that are scanned one by one before a native search: a native call costs 25 ns, as much as 30 bytes. */
const NEAR = 64;

export function skipSpace(b: Buffer, at: number, end: number): number {
  let i = at;
  while (i < end) {
    const c = b[i] as number;
    if (c > 0x20 || (c !== 0x20 && c !== 0x0a && c !== 0x0d && c !== 0x09)) break;
    i += 1;
  }
  return i;
}

/**
 * Skips the string whose opening quote is at `at`. Returns the offset after the closing quote, or BAD; in strict mode
 * also LONE.
 */
export function skipString(b: Buffer, at: number, end: number, strict: boolean): number {
  return strict ? skipStrictString(b, at, end) : skipLooseString(b, at + 1, end, NEVER);
}

/**
 * Continues inside a string, outside an escape. May pause from `pauseAt` on (see `pausedAt`). Alternates between
 * byte-by-byte scanning, which is faster for text with many escapes, and native searches, which are faster for long
 * plain text.
 */
export function skipLooseString(b: Buffer, from: number, end: number, pauseAt: number): number {
  let i = from;
  for (;;) {
    if (i >= pauseAt) return pausedFrom(i);
    const near = Math.min(end, i + NEAR);
    while (i < near) {
      const c = b[i];
      if (c === QUOTE) return i + 1;
      i += c === BACKSLASH ? 2 : 1;
    }
    if (i >= end) return BAD;
    const far = pauseAt === NEVER ? end : Math.min(end, i + WINDOW_BYTES);
    const quote = far === end ? b.indexOf(QUOTE, i) : indexWithin(b, QUOTE, i, far);
    if ((quote < 0 && far === end) || quote >= end) return BAD;
    const stop = quote < 0 ? far : quote;
    let slashes = 0;
    while (stop - 1 - slashes >= i && b[stop - 1 - slashes] === BACKSLASH) slashes += 1;
    const isEscaped = slashes % 2 === 1;
    if (quote < 0) i = isEscaped ? far - 1 : far;
    else if (!isEscaped) return quote + 1;
    else i = quote + 1;
  }
}

/** Skips a number, true, false or null. */
export function skipPlain(b: Buffer, at: number, end: number): number {
  const c = b[at] as number;
  if (c === MINUS || (c >= ZERO && c <= NINE)) return skipNumber(b, at, end);
  if (c === 0x74) return skipWord(b, at, end, 'true');
  if (c === 0x6e) return skipWord(b, at, end, 'null');
  return c === 0x66 ? skipWord(b, at, end, 'false') : BAD;
}

function skipWord(b: Buffer, at: number, end: number, word: string): number {
  if (at + word.length > end) return BAD;
  for (let i = 1; i < word.length; i += 1) if (b[at + i] !== word.charCodeAt(i)) return BAD;
  return at + word.length;
}

function skipNumber(b: Buffer, at: number, end: number): number {
  let i = b[at] === MINUS ? at + 1 : at;
  if (i < end && b[i] === ZERO) i += 1;
  else i = skipDigits(b, i, end);
  if (i >= 0 && i < end && b[i] === 0x2e) i = skipDigits(b, i + 1, end);
  if (i >= 0 && i < end && (b[i] === 0x65 || b[i] === 0x45)) {
    const sign = i + 1 < end ? b[i + 1] : 0;
    i = skipDigits(b, sign === 0x2b || sign === MINUS ? i + 2 : i + 1, end);
  }
  return i;
}

/** Skips one or more digits. */
function skipDigits(b: Buffer, at: number, end: number): number {
  let i = at;
  while (i < end && (b[i] as number) >= ZERO && (b[i] as number) <= NINE) i += 1;
  return i === at ? BAD : i;
}

/** Decodes the JSON string whose quotes are at `at` and `end - 1`. Returns undefined when an escape is invalid. */
export function decodeString(b: Buffer, at: number, end: number): string | undefined {
  if (!hasEscape(b, at, end)) return b.toString('utf8', at + 1, end - 1);
  try {
    return JSON.parse(b.toString('utf8', at, end)) as string;
  } catch {
    return undefined;
  }
}

/** Decodes the beginning of that string, from at most `maxBytes` of its text, so that a long string is never built. */
export function decodeStart(b: Buffer, at: number, end: number, maxBytes: number): string | undefined {
  if (end - at - 2 <= maxBytes) return decodeString(b, at, end);
  const stop = at + 1 + maxBytes;
  let i = at + 1;
  // Stops at whole escapes and whole UTF-8 sequences only.
  for (let next = i; next <= stop; ) {
    i = next;
    if (b[i] === BACKSLASH) next += b[i + 1] === 0x75 ? 6 : 2;
    else for (next += 1; ((b[next] as number) & 0xc0) === 0x80; ) next += 1;
  }
  return decodeString(Buffer.concat([b.subarray(at, i), Buffer.from('"')]), 0, i - at + 1);
}

function hasEscape(b: Buffer, at: number, end: number): boolean {
  // A subarray limits the search to the string; megabytes may follow it.
  if (end - at > NEAR) return b.subarray(at, end).includes(BACKSLASH);
  for (let i = at + 1; i < end - 1; i += 1) if (b[i] === BACKSLASH) return true;
  return false;
}

/** Returns true when the JSON string at the span equals `key` (ASCII), with or without escapes. */
export function keyIs(b: Buffer, at: number, end: number, key: string): boolean {
  if (end - at - 2 === key.length) return spells(b, at + 1, key);
  // An escape takes at least two bytes per letter, so only a longer spelling can be equal.
  return end - at - 2 > key.length && keyBegins(b, at, end, key) === end - 1;
}

/**
 * Returns the offset in the JSON string at the span that follows `word` (ASCII), or −1 when the string does not begin
 * with it. Escapes are recognised. The string must be well-formed; nothing is allocated.
 */
export function keyBegins(b: Buffer, at: number, end: number, word: string): number {
  let i = at + 1;
  for (let w = 0; w < word.length; w += 1) {
    if (i >= end - 1) return -1;
    let code = b[i] as number;
    if (code !== BACKSLASH) i += 1;
    else if (b[i + 1] === 0x75) {
      code = hexAt(b, i + 2);
      i += 6;
    } else {
      // Of the other escapes only these stand for printable ASCII.
      code = b[i + 1] === QUOTE || b[i + 1] === BACKSLASH || b[i + 1] === 0x2f ? (b[i + 1] as number) : -1;
      i += 2;
    }
    if (code !== word.charCodeAt(w)) return -1;
  }
  return i;
}

/**
 * Returns the value of four hexadecimal digits. Works on bytes, because a text of megabytes may consist of escapes
 * only.
 */
function hexAt(b: Buffer, at: number): number {
  let code = 0;
  for (let i = at; i < at + 4; i += 1) {
    const c = b[i] as number;
    code = code * 16 + (c <= NINE ? c - ZERO : (c & 0xdf) - 0x37);
  }
  return code;
}

/** Returns true when the bytes at `at` equal `word` (ASCII). */
export function spells(b: Buffer, at: number, word: string): boolean {
  for (let i = 0; i < word.length; i += 1) if (b[at + i] !== word.charCodeAt(i)) return false;
  return true;
}

/**
 * Returns a key as the most lenient parser reads it: case-folded, including the two letters outside ASCII that Unicode
 * folds into ASCII (U+017F to s, U+212A to k). Source: Go's encoding/json.
 */
export function foldedKey(key: string): string {
  return key.toUpperCase().toLowerCase();
}
