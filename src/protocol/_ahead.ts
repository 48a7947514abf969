/**
 * Walks over JSON text of several megabytes in steps, so that the event loop can run between them.
 * Guarantees: a step ends after about `stepBytes` plus at most one value. Large values near the top, and the fault that
 * ends the walk, are recorded for the walk that reads the message.
 */
import { skipLooseString, skipPlain, skipSpace } from './_scalar.ts';
import {
  BAD,
  continueString,
  DEEP,
  MANY,
  PAUSED,
  pausedAt,
  pausedFrom,
  QUOTE,
  skipStrictString,
} from './_strict-string.ts';
import { UNBOUNDED, type WalkOptions } from './_value.ts';
import { WalkedValues } from './_walked-values.ts';

const SPACE = 0x20;
const COMMA = 0x2c;
const PLUS = 0x2b;
const MINUS = 0x2d;
const POINT = 0x2e;
const ZERO = 0x30;
const NINE = 0x39;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;
const OPEN_ARRAY = 0x5b;
const NULL = 0x6e;
const SMALL = 0x20;
const LETTER_E = 0x65;
/** Bytes of a number that are scanned without a pause. */
const NUMBER_BYTES = 64;

/** What the walk expects next, after white space. */
type Phase = 0 | 1 | 2 | 3 | 4;
const VALUE = 0;
/** The first member or element, or the closing bracket. */
const FIRST = 1;
const NAME = 2;
const COLON = 3;
/** A comma or the closing bracket. */
const BEHIND = 4;
/** The colon character. */
const COLON_BYTE = 0x3a;

export interface AheadSizes {
  /** Bytes per step. */
  readonly stepBytes: number;
  /** Values smaller than this are not recorded; the next walk scans them again. */
  readonly largeBytes: number;
}
/** A step takes 0.05 to 1 ms (measured). */
const SIZES: AheadSizes = { stepBytes: 64 * 1024, largeBytes: 2 * 1024 };
/** Nesting levels whose values are recorded: the message, its members, and their members. */
const LEVELS = 3;

/** The state of a walk between two steps. */
class Ahead {
  readonly #sizes: AheadSizes;
  readonly #walked = new WalkedValues();
  /** For each open level: where its value begins, the budget before it, and the count of empty members before it. */
  readonly #opened: number[] = []; // bounded by: 3 × LEVELS
  #openLevels = 0;
  /** Offset at which the interrupted string or number continues; −1 when the walk did not pause inside one. */
  #inside = -1;
  /** Whether the interrupted number may still contain a decimal point or an exponent. */
  #mayHavePoint = true;
  #mayHaveExponent = true;
  #hasDigits = false;
  /** Where the interrupted white space begins; −1 when the walk did not pause inside white space. */
  #spaceFrom = -1;
  readonly closers: number[] = []; // bounded by: maxDepth
  phase: Phase = VALUE;
  /** The opening bracket that precedes `FIRST`. */
  bracketAt = -1;
  at: number;
  stop: number;
  depth = 0;
  left: number;
  empties = 0;

  constructor(at: number, left: number, sizes: AheadSizes) {
    this.#sizes = sizes;
    this.at = at;
    this.left = left;
    this.stop = at + sizes.stepBytes;
  }

  pause(at: number, phase: Phase, depth: number, left: number, empties: number): number {
    this.at = at;
    this.phase = phase;
    this.depth = depth;
    this.left = left;
    this.empties = empties;
    this.stop = Math.max(at, this.#inside) + this.#sizes.stepBytes;
    return PAUSED;
  }

  /** `left` is the budget without the value itself. */
  open(at: number, depth: number, left: number, empties: number): void {
    if (depth >= LEVELS) return;
    this.#opened[3 * depth] = at;
    this.#opened[3 * depth + 1] = left + 1;
    this.#opened[3 * depth + 2] = empties;
    this.#openLevels = depth + 1;
  }

  close(end: number, depth: number, left: number, empties: number): void {
    if (depth >= LEVELS) return;
    this.#openLevels = depth;
    const [at, leftBefore, emptiesBefore] = this.#opened.slice(3 * depth, 3 * depth + 3) as [number, number, number];
    if (end - at < this.#sizes.largeBytes) return;
    this.#walked.add(at, { end, values: leftBefore - left, hasEmpty: empties > emptiesBefore });
  }

  get isInSpace(): boolean {
    return this.#spaceFrom >= 0;
  }

  /** Works like `skipSpace`; the walk pauses when it reaches `limit`. */
  space(b: Buffer, at: number, limit: number): number {
    const from = this.#spaceFrom < 0 ? at : this.#spaceFrom;
    const end = skipSpace(b, at, limit);
    this.#spaceFrom = end === limit ? from : -1;
    if (end < limit) this.#keep(from, end, 0);
    return end;
  }

  /** Works like `skipString`; returns PAUSED when the rest belongs to the next step. */
  string(b: Buffer, at: number, depth: number, strict: boolean): number {
    const end = b.length;
    const { stop } = this;
    const inside = this.#inside;
    let found: number;
    if (strict) found = inside < 0 ? skipStrictString(b, at, end, stop) : continueString(b, inside, end, stop);
    else found = skipLooseString(b, inside < 0 ? at + 1 : inside, end, stop);
    this.#inside = pausedAt(found);
    if (this.#inside >= 0) return PAUSED;
    if (found > 0) this.#keep(at, found, depth);
    return found;
  }

  /** Works like `skipPlain`; returns PAUSED when the rest belongs to the next step. */
  plain(b: Buffer, at: number, depth: number): number {
    const near = Math.min(b.length, at + NUMBER_BYTES);
    if (this.#inside < 0) {
      const found = skipPlain(b, at, near);
      const c = b[at] as number;
      if (near === b.length || (found >= 0 && found < near) || !(c === MINUS || isDigit(c))) return found;
    }
    const found = this.#number(b, at);
    this.#inside = pausedAt(found);
    if (this.#inside >= 0) return PAUSED;
    if (found > 0) this.#keep(at, found, depth);
    return found;
  }

  /** Skips a number of any length (RFC 8259 §6). */
  #number(b: Buffer, at: number): number {
    const limit = Math.min(b.length, this.stop);
    let i = this.#inside;
    if (i < 0) {
      i = b[at] === MINUS ? at + 1 : at;
      this.#mayHavePoint = this.#mayHaveExponent = true;
      this.#hasDigits = false;
      // A leading zero must not be followed by a digit.
      if (b[i] === ZERO && isDigit(b[i + 1] ?? 0)) return i + 1;
    }
    for (;;) {
      const from = i;
      while (i < limit && isDigit(b[i] as number)) i += 1;
      this.#hasDigits ||= i > from;
      if (i >= limit && limit < b.length) return pausedFrom(i);
      if (!this.#hasDigits) return BAD;
      const c = b[i] ?? 0;
      const isPoint = c === POINT && this.#mayHavePoint;
      if (!isPoint && ((c | SMALL) !== LETTER_E || !this.#mayHaveExponent)) return i;
      this.#mayHavePoint = this.#hasDigits = false;
      this.#mayHaveExponent = isPoint;
      i += 1;
      if (!isPoint && (b[i] === PLUS || b[i] === MINUS)) i += 1;
    }
  }

  #keep(at: number, end: number, depth: number): void {
    if (depth <= LEVELS && end - at >= this.#sizes.largeBytes)
      this.#walked.add(at, { end, values: 0, hasEmpty: false });
  }

  /** Returns what was recorded. `end` is the return value of the walk. */
  over(end: number): WalkedValues {
    this.#walked.end = end;
    if (end < 0)
      for (let depth = 0; depth < this.#openLevels; depth += 1)
        this.#walked.add(this.#opened[3 * depth] as number, { end, values: 0, hasEmpty: false });
    return this.#walked;
  }
}

function isDigit(byte: number): boolean {
  return byte >= ZERO && byte <= NINE;
}

/**
 * Walks over the object or array at `at` in steps of a few milliseconds. Returns the large values found: with them, a
 * second walk with the same options takes almost no time and finds the same faults.
 */
export function* walkAhead(
  b: Buffer,
  at: number,
  options: WalkOptions,
  sizes: AheadSizes = SIZES,
): Generator<void, WalkedValues> {
  const ahead = new Ahead(at, options.budget?.values ?? UNBOUNDED, sizes);
  for (;;) {
    const end = walkOn(b, options, ahead);
    if (end !== PAUSED) return ahead.over(end);
    yield;
  }
}

/**
 * Finds the same faults as `skipNested` in any text (`ahead.test.ts`). It is separate because `skipNested` is too hot
 * to support pauses.
 */
function walkOn(b: Buffer, { maxDepth, strict }: WalkOptions, ahead: Ahead): number {
  const end = b.length;
  const { closers } = ahead;
  const limit = Math.min(end, ahead.stop);
  let { at: i, phase, depth, left, empties } = ahead;
  for (;;) {
    if (phase === BEHIND && depth === 0) return i;
    if (i < limit && ((b[i] as number) <= SPACE || ahead.isInSpace)) i = ahead.space(b, i, limit);
    if (i >= limit) return i >= end ? BAD : ahead.pause(i, phase, depth, left, empties);
    const c = b[i] as number;
    if (phase === VALUE) {
      if (left <= 0) return MANY;
      left -= 1;
      if (c === OPEN_OBJECT || c === OPEN_ARRAY) {
        if (depth >= maxDepth) return DEEP;
        ahead.bracketAt = i;
        i += 1;
        phase = FIRST;
        continue;
      }
      const behind = c === QUOTE ? ahead.string(b, i, depth, strict) : ahead.plain(b, i, depth);
      if (behind === PAUSED) return ahead.pause(i, VALUE, depth, left + 1, empties);
      if (behind < 0 || behind > end) return behind < 0 ? behind : BAD;
      if (c === NULL) empties += 1;
      i = behind;
      phase = BEHIND;
    } else if (phase === BEHIND) {
      const closer = closers[depth - 1] as number;
      if (c === COMMA) phase = closer === CLOSE_OBJECT ? NAME : VALUE;
      else if (c !== closer) return BAD;
      else {
        depth -= 1;
        ahead.close(i + 1, depth, left, empties);
      }
      i += 1;
    } else if (phase === NAME) {
      if (c !== QUOTE) return BAD;
      const behind = ahead.string(b, i, depth, strict);
      if (behind === PAUSED) return ahead.pause(i, NAME, depth, left, empties);
      if (behind < 0) return behind;
      i = behind;
      phase = COLON;
    } else if (phase === COLON) {
      if (c !== COLON_BYTE) return BAD;
      i += 1;
      phase = VALUE;
    } else {
      const from = ahead.bracketAt;
      const closer = (b[from] as number) + 2;
      if (c === closer) {
        if (closer !== CLOSE_OBJECT) empties += 1;
        i += 1;
        phase = BEHIND;
      } else {
        ahead.open(from, depth, left, empties);
        closers[depth] = closer;
        depth += 1;
        phase = closer === CLOSE_OBJECT ? NAME : VALUE;
      }
    }
  }
}
