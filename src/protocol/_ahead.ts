/**
 * A walk over JSON text of megabytes that pauses, so that the event loop can turn; and what it has seen, for the walk that reads the message.
 * Guarantees: a pause comes after about `stepBytes`, or one value more; large values near the top are kept, with the fault that ends the walk.
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
/** Bytes of a number that are looked at without a pause. */
const NUMBER_BYTES = 64;

/** What comes next, behind white space. */
type Phase = 0 | 1 | 2 | 3 | 4;
const VALUE = 0;
/** The first member or element, or the closing bracket. */
const FIRST = 1;
const NAME = 2;
const COLON = 3;
/** A comma, or the closing bracket. */
const BEHIND = 4;
/** The character. */
const COLON_BYTE = 0x3a;

export interface AheadSizes {
  /** Of one step. */
  readonly stepBytes: number;
  /** Smaller values are walked over again. */
  readonly largeBytes: number;
}
/** A step takes 0.05 to 1 ms (measured). */
const SIZES: AheadSizes = { stepBytes: 64 * 1024, largeBytes: 2 * 1024 };
/** Levels whose values are kept: the message, its members, and theirs. */
const LEVELS = 3;

/** The state of a walk between two steps. */
class Ahead {
  readonly #sizes: AheadSizes;
  readonly #walked = new WalkedValues();
  /** Of each level that is open: where its value begins, the budget before it, and the empties before it. */
  readonly #opened: number[] = []; // bounded by: 3 × LEVELS
  #openLevels = 0;
  /** Where a string or number goes on in which the walk has paused; −1 = it has not. */
  #inside = -1;
  /** Behind the point or the exponent of that number, or before both. */
  #mayHavePoint = true;
  #mayHaveExponent = true;
  #hasDigits = false;
  /** Where the white space begins in which the walk has paused; −1 = it has not. */
  #spaceFrom = -1;
  readonly closers: number[] = []; // bounded by: maxDepth
  phase: Phase = VALUE;
  /** The bracket before `FIRST`. */
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

  /** `left` = the budget without the value itself. */
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

  /** As `skipSpace`; at `limit` the walk is to pause. */
  space(b: Buffer, at: number, limit: number): number {
    const from = this.#spaceFrom < 0 ? at : this.#spaceFrom;
    const end = skipSpace(b, at, limit);
    this.#spaceFrom = end === limit ? from : -1;
    if (end < limit) this.#keep(from, end, 0);
    return end;
  }

  /** As `skipString`; PAUSED = the rest in the next step. */
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

  /** As `skipPlain`; PAUSED = the rest in the next step. */
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

  /** A number of any length (RFC 8259 §6). */
  #number(b: Buffer, at: number): number {
    const limit = Math.min(b.length, this.stop);
    let i = this.#inside;
    if (i < 0) {
      i = b[at] === MINUS ? at + 1 : at;
      this.#mayHavePoint = this.#mayHaveExponent = true;
      this.#hasDigits = false;
      // No digit follows a zero.
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

  /** `end` = what the walk has returned. */
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
 * Walks over the object or array at `at` in steps of some milliseconds, before it is read: with what is large in it, which is returned, another walk with the
 * same options takes no time, and finds the same faults.
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
 * Finds the same as `skipNested`, which is too hot to know of pauses, in any text (`ahead.test.ts`).
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
