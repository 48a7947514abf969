/**
 * A walk over JSON text of megabytes that pauses, so that the event loop can turn; and what it has seen, for the walk that reads the message.
 * Guarantees: a pause comes after about `stepBytes`, or one value more; large values near the top are kept, with the fault that ends the walk.
 */
import { skipPlain, skipSpace, skipString } from './_scalar.ts';
import { BAD, continueString, DEEP, MANY, PAUSED, pausedAt, QUOTE, skipStrictString } from './_strict-string.ts';
import { toMemberValue, UNBOUNDED, type WalkOptions } from './_value.ts';
import { WalkedValues } from './_walked-values.ts';

const COMMA = 0x2c;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;
const OPEN_ARRAY = 0x5b;
const NULL = 0x6e;

export interface AheadSizes {
  /** Of one step. */
  readonly stepBytes: number;
  /** Smaller values are walked over again. */
  readonly largeBytes: number;
}
/** A step takes 0.5 to 2 ms (measured). */
const SIZES: AheadSizes = { stepBytes: 512 * 1024, largeBytes: 16 * 1024 };
/** Levels whose values are kept: the message, its members, and theirs. */
const LEVELS = 3;

/** The state of a walk between two steps. */
class Ahead {
  readonly #sizes: AheadSizes;
  readonly #walked = new WalkedValues();
  /** Of each level that is open: where its value begins, the budget before it, and the empties before it. */
  readonly #opened: number[] = []; // bounded by: 3 × LEVELS
  #openLevels = 0;
  /** Where a string goes on in which the walk has paused; −1 = it has not. */
  #inString = -1;
  readonly closers: number[] = []; // bounded by: maxDepth
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

  pause(at: number, depth: number, left: number, empties: number): number {
    this.at = at;
    this.depth = depth;
    this.left = left;
    this.empties = empties;
    this.stop = Math.max(at, this.#inString) + this.#sizes.stepBytes;
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

  /** As `skipString`; PAUSED = the rest in the next step. */
  string(b: Buffer, at: number, depth: number, strict: boolean): number {
    const end = b.length;
    const { stop } = this;
    const inside = this.#inString;
    let found: number;
    if (!strict) found = skipString(b, at, end, false);
    else found = inside < 0 ? skipStrictString(b, at, end, stop) : continueString(b, inside, end, stop);
    this.#inString = pausedAt(found);
    if (this.#inString >= 0) return PAUSED;
    if (depth <= LEVELS && found - at >= this.#sizes.largeBytes)
      this.#walked.add(at, { end: found, values: 0, hasEmpty: false });
    return found;
  }

  /** `end` = what the walk has returned. */
  over(end: number): WalkedValues {
    if (end < 0)
      for (let depth = 0; depth < this.#openLevels; depth += 1)
        this.#walked.add(this.#opened[3 * depth] as number, { end, values: 0, hasEmpty: false });
    return this.#walked;
  }
}

/**
 * Walks over the object or array at `at` in steps of some milliseconds, before it is read: with the large values that it returns, another walk with the
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
 * The same loop as `skipNested`, which is too hot to know of pauses: with them it takes twice the time for short values (measured). Both find the same in
 * any text (`ahead.test.ts`).
 */
function walkOn(b: Buffer, { maxDepth, strict }: WalkOptions, ahead: Ahead): number {
  const end = b.length;
  const { closers, stop } = ahead;
  let { at: i, depth, left, empties } = ahead;
  for (;;) {
    if (i >= stop) return i < end ? ahead.pause(i, depth, left, empties) : BAD;
    if (left <= 0) return MANY;
    left -= 1;
    const c = b[i] as number;
    if (c === OPEN_OBJECT || c === OPEN_ARRAY) {
      if (depth >= maxDepth) return DEEP;
      const closer = c + 2;
      const from = i;
      i = skipSpace(b, i + 1, end);
      if (i >= end) return BAD;
      if (b[i] !== closer) {
        ahead.open(from, depth, left, empties);
        closers[depth] = closer;
        depth += 1;
        if (closer === CLOSE_OBJECT) i = toMemberValue(b, i, end, strict);
        if (i < 0) return i;
        continue;
      }
      i += 1;
      if (c === OPEN_ARRAY) empties += 1;
    } else if (c === QUOTE) {
      const behind = ahead.string(b, i, depth, strict);
      if (behind === PAUSED) return ahead.pause(i, depth, left + 1, empties);
      i = behind;
    } else {
      if (c === NULL) empties += 1;
      i = skipPlain(b, i, end);
    }
    if (i < 0 || i > end) return i < 0 ? i : BAD;
    for (;;) {
      if (depth === 0) return i;
      i = skipSpace(b, i, end);
      if (i >= end) return BAD;
      const closer = closers[depth - 1] as number;
      if (b[i] === COMMA) {
        i = skipSpace(b, i + 1, end);
        if (closer === CLOSE_OBJECT) i = toMemberValue(b, i, end, strict);
        if (i < 0) return i;
        break;
      }
      if (b[i] !== closer) return BAD;
      depth -= 1;
      i += 1;
      ahead.close(i, depth, left, empties);
    }
  }
}
