/**
 * Scans strings of JSON text as RFC 8259 §7 and RFC 7493 §2.1 define them: no control characters, only known escapes,
 * no lone surrogates.
 * Guarantees: linear time, no allocation. UTF-8 validity is checked elsewhere, for the whole message.
 */

import { atOnce } from '../runtime/take-turn.ts';

/** The text is not JSON. */
export const BAD = -1;
/** The text is nested deeper than allowed. */
export const DEEP = -2;
/** The text has more values than allowed. */
export const MANY = -3;
/** The text is valid JSON so far, but an escape is half of a surrogate pair, which UTF-8 cannot represent. */
export const LONE = -4;

/** The walk has not reached the end. */
export const PAUSED = -5;
/** A string or number that paused at byte n is returned as −16 − n. */
const PAUSED_AT = -16;

export const QUOTE = 0x22;
const BACKSLASH = 0x5c;
/** From this length on native searches are faster than the table. */
const NEAR_STRICT = 256;
const SHORT = 24;
const MAX_STRETCH = 64 * 1024;
/** An offset greater than any in a message. */
export const NEVER = 0x3fffffff;
/** Bytes that a pausing walk searches natively at once: at most 0.2 ms. */
export const WINDOW_BYTES = 256 * 1024;

/** The meaning of each byte inside a string: plain text, closing quote, backslash, or control character. */
const PLAIN_TEXT = 0;
const END = 1;
const ESCAPE = 2;
const CONTROL = 3;
const TEXT = Uint8Array.from({ length: 256 }, (_, c) =>
  c === QUOTE ? END : c === BACKSLASH ? ESCAPE : c < 0x20 ? CONTROL : PLAIN_TEXT,
);
/** 1 for letters that form an escape with one backslash, 2 for `u`. */
const ESCAPES = Uint8Array.from({ length: 256 }, (_, c) =>
  c === 0x75 ? 2 : '"\\/bfnrt'.includes(String.fromCharCode(c)) ? 1 : 0,
);
const HEX = Uint8Array.from({ length: 256 }, (_, c) => Number(/[0-9a-f]/i.test(String.fromCharCode(c))));

/**
 * Skips the string whose opening quote is at `at`. Returns the offset after the closing quote, or BAD, or LONE.
 * Optimised for short strings. From `pauseAt` on a long string may pause; pass the result to `pausedAt` then.
 */
export function skipStrictString(b: Buffer, at: number, end: number, pauseAt = NEVER): number {
  let i = at + 1;
  const near = Math.min(end, i + SHORT);
  while (i < near && TEXT[b[i] as number] === PLAIN_TEXT) i += 1;
  return i < near && b[i] === QUOTE ? i + 1 : skipLongString(b, i, end, pauseAt);
}

/**
 * Continues inside a string, outside an escape. Scans the first bytes with the table (0.6 ns per byte), then searches
 * the closing quote and the next escape natively and checks the text between them by words (0.2 ns per byte). The more
 * frequent escapes are, the longer the table is used. No byte is searched twice.
 */
function skipLongString(b: Buffer, from: number, end: number, pauseAt: number): number {
  let i = from;
  let stretch = NEAR_STRICT;
  /** The next quote; in a walk that can pause, the end of the window when the window contains none. */
  let quote = -1;
  let isEnd = false;
  for (;;) {
    if (i >= pauseAt) return pausedFrom(i);
    const near = Math.min(end, i + stretch);
    while (i < near) {
      const kind = TEXT[b[i] as number];
      if (kind === PLAIN_TEXT) i = plainEnd(b, i + 1, near);
      else if (kind === ESCAPE) {
        i = skipEscape(b, i, end);
        if (i < 0) return i;
      } else return kind === END ? i + 1 : BAD;
    }
    if (i >= end) return BAD;
    // Searched again only after it was passed.
    if (quote < i) {
      const far = pauseAt === NEVER ? end : Math.min(end, i + WINDOW_BYTES);
      quote = far === end ? b.indexOf(QUOTE, i) : indexWithin(b, QUOTE, i, far);
      if (quote < 0 && far === end) return BAD;
      isEnd = quote >= 0;
      if (!isEnd) quote = far;
    }
    if (quote > end || (quote === end && isEnd)) return BAD;
    const slash = b.subarray(i, quote).indexOf(BACKSLASH);
    const stop = slash < 0 ? quote : i + slash;
    if (hasControl(b, i, stop)) return BAD;
    if (slash < 0 && isEnd) return quote + 1;
    stretch = stop - i < NEAR_STRICT ? Math.min(2 * stretch, MAX_STRETCH) : NEAR_STRICT;
    i = stop;
  }
}

/** Works like `skipStrictString`, from the offset at which a string paused. */
export function continueString(b: Buffer, from: number, end: number, pauseAt: number): number {
  return skipLongString(b, from, end, pauseAt);
}

/** Returns the result of a walk that paused at this byte of a string or number. */
export function pausedFrom(at: number): number {
  return PAUSED_AT - at;
}

/** Returns the offset at which the paused string or number continues, or −1 when the walk did not pause there. */
export function pausedAt(found: number): number {
  return found <= PAUSED_AT ? PAUSED_AT - found : -1;
}

/** Returns the first position of `byte` from `at` up to `end`, or −1. */
export function indexWithin(b: Buffer, byte: number, at: number, end: number): number {
  const found = b.subarray(at, end).indexOf(byte);
  return found < 0 ? -1 : at + found;
}

/** Returns the first position from `at` on that is not plain text, or `end`. */
function plainEnd(b: Buffer, at: number, end: number): number {
  let i = at;
  for (const last = end - 8; i <= last; i += 8) {
    const kinds =
      (TEXT[b[i] as number] as number) |
      (TEXT[b[i + 1] as number] as number) |
      (TEXT[b[i + 2] as number] as number) |
      (TEXT[b[i + 3] as number] as number) |
      (TEXT[b[i + 4] as number] as number) |
      (TEXT[b[i + 5] as number] as number) |
      (TEXT[b[i + 6] as number] as number) |
      (TEXT[b[i + 7] as number] as number);
    if (kinds !== PLAIN_TEXT) break;
  }
  while (i < end && TEXT[b[i] as number] === PLAIN_TEXT) i += 1;
  return i;
}

/** Returns true when the range contains a byte below 0x20. Checks four bytes at a time. */
function hasControl(b: Buffer, at: number, end: number): boolean {
  const head = at + ((4 - ((b.byteOffset + at) & 3)) & 3);
  const count = end < head ? 0 : (end - head) >> 2;
  const words = new Int32Array(b.buffer, count === 0 ? 0 : b.byteOffset + head, count);
  // The subtraction borrows into the highest bit of each smaller byte; bytes from 0x80 on had that bit before.
  let found = 0;
  let i = 0;
  for (; i <= count - 4; i += 4) {
    const v = words[i] as number;
    const x = words[i + 1] as number;
    const y = words[i + 2] as number;
    const z = words[i + 3] as number;
    found |= ((v - SPACES) & ~v) | ((x - SPACES) & ~x) | ((y - SPACES) & ~y) | ((z - SPACES) & ~z);
  }
  for (; i < count; i += 1) found |= ((words[i] as number) - SPACES) & ~(words[i] as number);
  if ((found & HIGH_BITS) !== 0) return true;
  for (i = at; i < head && i < end; i += 1) if ((b[i] as number) < 0x20) return true;
  for (i = head + 4 * count; i < end; i += 1) if ((b[i] as number) < 0x20) return true;
  return false;
}
const SPACES = 0x20202020;
const HIGH_BITS = 0x80808080 | 0;

/** Skips the escape whose backslash is at `at`. Returns the offset after it, or BAD, or LONE. */
function skipEscape(b: Buffer, at: number, end: number): number {
  if (at + 1 >= end) return BAD;
  const kind = ESCAPES[b[at + 1] as number];
  if (kind === 1) return at + 2;
  if (kind !== 2 || !isHex(b, at + 2, end)) return BAD;
  const half = surrogateAt(b, at);
  if (half === 0) return at + 6;
  return half === HIGH_HALF && isLowHalf(b, at + 6, end) ? at + 12 : LONE;
}

function isHex(b: Buffer, at: number, end: number): boolean {
  if (at + 4 > end) return false;
  const all =
    (HEX[b[at] as number] as number) &
    (HEX[b[at + 1] as number] as number) &
    (HEX[b[at + 2] as number] as number) &
    (HEX[b[at + 3] as number] as number);
  return all === 1;
}

const HIGH_HALF = 1;
const LOW_HALF = 2;

/** Returns which half of a surrogate pair the `\uXXXX` at `at` is; 0 when it is neither. */
function surrogateAt(b: Buffer, at: number): number {
  if (((b[at + 2] as number) | 0x20) !== 0x64) return 0;
  const second = (b[at + 3] as number) | 0x20;
  if (second < 0x38) return 0;
  return second <= 0x39 || second <= 0x62 ? HIGH_HALF : LOW_HALF;
}

function isLowHalf(b: Buffer, at: number, end: number): boolean {
  return b[at] === BACKSLASH && b[at + 1] === 0x75 && isHex(b, at + 2, end) && surrogateAt(b, at) === LOW_HALF;
}

/**
 * Returns a copy of JSON text with U+FFFD in place of each lone surrogate escape. The length, and so all spans, stay
 * the same.
 */
export function withoutLoneSurrogates(text: Buffer): Buffer {
  return atOnce(loneSteps(Buffer.from(text)));
}

/** Replaces them in the buffer itself, in steps of a few milliseconds. */
export function* loneSteps(b: Buffer): Generator<void, Buffer> {
  let stop = WINDOW_BYTES;
  for (let i = b.indexOf(BACKSLASH); i >= 0; i = b[i] === BACKSLASH ? i : b.indexOf(BACKSLASH, i)) {
    const behind = skipEscape(b, i, b.length);
    if (behind === LONE) for (let k = 0; k < 4; k += 1) b[i + 2 + k] = k < 3 ? 0x66 : 0x64;
    if (behind >= 0) i = behind;
    else i += behind === LONE ? 6 : 2;
    if (i < stop) continue;
    yield;
    stop = i + WINDOW_BYTES;
  }
  return b;
}
