/**
 * Strings of JSON text as RFC 8259 §7 and RFC 7493 §2.1 allow them: no control characters, known escapes, no half of a surrogate pair.
 * Guarantees: linear; builds nothing. Whether the bytes are UTF-8 is checked for the message as a whole.
 */

import { atOnce } from '../runtime/take-turn.ts';

/** Not JSON. */
export const BAD = -1;
/** Nested deeper than allowed. */
export const DEEP = -2;
/** More values than allowed. */
export const MANY = -3;
/** Valid JSON so far, but an escape is half of a surrogate pair, which no UTF-8 text can hold. */
export const LONE = -4;

/** A walk has not come to the end. */
export const PAUSED = -5;
/** A string or number paused at the byte −16 − this. */
const PAUSED_AT = -16;

export const QUOTE = 0x22;
const BACKSLASH = 0x5c;
/** From here on native searches are faster than a table. */
const NEAR_STRICT = 256;
const SHORT = 24;
const MAX_STRETCH = 64 * 1024;
/** Behind any byte. */
export const NEVER = 0x3fffffff;
/** Searched natively at once by a walk that can pause: 0.2 ms at most. */
export const WINDOW_BYTES = 256 * 1024;

/** What each byte means inside a string: plain text, its end, an escape, or a control character. */
const PLAIN_TEXT = 0;
const END = 1;
const ESCAPE = 2;
const CONTROL = 3;
const TEXT = Uint8Array.from({ length: 256 }, (_, c) =>
  c === QUOTE ? END : c === BACKSLASH ? ESCAPE : c < 0x20 ? CONTROL : PLAIN_TEXT,
);
/** 1 for the letters that stand behind a backslash alone, 2 for `u`. */
const ESCAPES = Uint8Array.from({ length: 256 }, (_, c) =>
  c === 0x75 ? 2 : '"\\/bfnrt'.includes(String.fromCharCode(c)) ? 1 : 0,
);
const HEX = Uint8Array.from({ length: 256 }, (_, c) => Number(/[0-9a-f]/i.test(String.fromCharCode(c))));

/**
 * `at` is on the opening quote; the answer is behind the closing one, or BAD, or LONE. Most strings are short. From `pauseAt` on a long one may pause: the answer
 * is for `pausedAt` then.
 */
export function skipStrictString(b: Buffer, at: number, end: number, pauseAt = NEVER): number {
  let i = at + 1;
  const near = Math.min(end, i + SHORT);
  while (i < near && TEXT[b[i] as number] === PLAIN_TEXT) i += 1;
  return i < near && b[i] === QUOTE ? i + 1 : skipLongString(b, i, end, pauseAt);
}

/**
 * From inside a string, not inside an escape. The first bytes by the table (0.6 ns a byte); then the end and the next escape are searched natively
 * and the text between is checked by words (0.2 ns a byte). Where escapes are frequent the stretches by the table grow. Each search begins where
 * the one before it ended.
 */
function skipLongString(b: Buffer, from: number, end: number, pauseAt: number): number {
  let i = from;
  let stretch = NEAR_STRICT;
  /** The next quote; where a walk can pause, the end of the window if there is none in it. */
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
    // Found again only when it has been passed.
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

/** As `skipStrictString`, from where a string paused. */
export function continueString(b: Buffer, from: number, end: number, pauseAt: number): number {
  return skipLongString(b, from, end, pauseAt);
}

/** What a walk returns that has paused at this byte of a string or number. */
export function pausedFrom(at: number): number {
  return PAUSED_AT - at;
}

/** Where a string or number goes on in which a walk has paused; −1 = it has not. */
export function pausedAt(found: number): number {
  return found <= PAUSED_AT ? PAUSED_AT - found : -1;
}

/** The first such byte from `at` on and before `end`; −1 = there is none. */
export function indexWithin(b: Buffer, byte: number, at: number, end: number): number {
  const found = b.subarray(at, end).indexOf(byte);
  return found < 0 ? -1 : at + found;
}

/** The first byte from `at` on that is no plain text, or `end`. */
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

/** Whether a byte below 0x20 is there, four bytes at a time. */
function hasControl(b: Buffer, at: number, end: number): boolean {
  const head = at + ((4 - ((b.byteOffset + at) & 3)) & 3);
  const count = end < head ? 0 : (end - head) >> 2;
  const words = new Int32Array(b.buffer, count === 0 ? 0 : b.byteOffset + head, count);
  // Subtracting borrows into the highest bit of each byte that is smaller; bytes from 0x80 on had that bit before.
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

/** `at` is on a backslash; the answer is behind the escape, or BAD, or LONE. */
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

/** Which half of a surrogate pair the `\uXXXX` at `at` stands for; 0 = it is none. */
function surrogateAt(b: Buffer, at: number): number {
  if (((b[at + 2] as number) | 0x20) !== 0x64) return 0;
  const second = (b[at + 3] as number) | 0x20;
  if (second < 0x38) return 0;
  return second <= 0x39 || second <= 0x62 ? HIGH_HALF : LOW_HALF;
}

function isLowHalf(b: Buffer, at: number, end: number): boolean {
  return b[at] === BACKSLASH && b[at + 1] === 0x75 && isHex(b, at + 2, end) && surrogateAt(b, at) === LOW_HALF;
}

/** Returns a copy of JSON text with U+FFFD in place of each escape that is half of a surrogate pair; it has the same length, so that spans stay. */
export function withoutLoneSurrogates(text: Buffer): Buffer {
  return atOnce(loneSteps(Buffer.from(text)));
}

/** The same in the bytes themselves, in steps of some milliseconds. */
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
