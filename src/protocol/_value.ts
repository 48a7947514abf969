/**
 * Walks over JSON text without building anything; the byte loop used by `scan.ts`.
 * Guarantees: iterative (nesting needs no stack), linear, stops at the first fault. `_ahead.ts` provides walks over
 * megabytes that can pause. Strings and numbers are scanned by `_scalar.ts`.
 */

import { skipPlain, skipSpace, skipString } from './_scalar.ts';
import { BAD, DEEP, MANY, QUOTE } from './_strict-string.ts';
import type { Budget, WalkedValues } from './_walked-values.ts';

const COMMA = 0x2c;
const COLON = 0x3a;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;
const OPEN_ARRAY = 0x5b;
const CLOSE_ARRAY = 0x5d;
const NULL = 0x6e;

export type { Budget };

export interface WalkOptions {
  readonly maxDepth: number;
  readonly strict: boolean;
  /** When absent, only the number of bytes limits the walk. */
  readonly budget?: Budget | undefined;
  /** Large values of this text that were walked over before, with the same options. */
  readonly walked?: WalkedValues | undefined;
}

export const UNBOUNDED = 0x3fffffff;

/** Skips a key, from its opening quote. Returns the offset after the closing quote, or BAD or LONE. */
function skipKey(b: Buffer, at: number, end: number, strict: boolean, walked?: WalkedValues): number {
  if (at >= end || b[at] !== QUOTE) return BAD;
  return walked?.take(at, undefined) ?? skipString(b, at, end, strict);
}

/** Skips from the end of a key to its value. */
function skipColon(b: Buffer, at: number, end: number, walked?: WalkedValues): number {
  const colon = b[at] === COLON ? at : skipWalkedSpace(b, at, end, walked);
  return colon < end && b[colon] === COLON ? skipWalkedSpace(b, colon + 1, end, walked) : BAD;
}

function skipWalkedSpace(b: Buffer, at: number, end: number, walked: WalkedValues | undefined): number {
  return walked === undefined ? skipSpace(b, at, end) : walked.space(b, at, end);
}

/** Skips the value whose first byte is at `at`. Returns the offset after it, or BAD, DEEP, MANY or LONE. */
export function skipValue(b: Buffer, at: number, end: number, options: WalkOptions): number {
  if (at >= end) return BAD;
  const known = options.walked?.take(at, options.budget);
  if (known !== undefined) return known;
  const c = b[at];
  if (c === QUOTE) return skipString(b, at, end, options.strict);
  if (c === OPEN_OBJECT || c === OPEN_ARRAY) return skipNested(b, at, end, options);
  return skipPlain(b, at, end);
}

function skipNested(b: Buffer, at: number, end: number, { maxDepth, strict, budget }: WalkOptions): number {
  let left = budget ? budget.values : UNBOUNDED;
  let hasEmpty = false;
  /** The bracket that closes each level. */
  const closers: number[] = []; // bounded by: maxDepth
  let depth = 0;
  let i = at;
  for (;;) {
    if (i >= end) return BAD;
    if (left <= 0) return MANY;
    left -= 1;
    const c = b[i] as number;
    if (c === OPEN_OBJECT || c === OPEN_ARRAY) {
      if (depth >= maxDepth) return DEEP;
      const closer = c + 2;
      i = skipSpace(b, i + 1, end);
      if (i >= end) return BAD;
      if (b[i] !== closer) {
        closers[depth] = closer;
        depth += 1;
        if (closer === CLOSE_OBJECT) i = toMemberValue(b, i, end, strict);
        if (i < 0) return i;
        continue;
      }
      i += 1;
      if (c === OPEN_ARRAY) hasEmpty = true;
    } else if (c === QUOTE) i = skipString(b, i, end, strict);
    else {
      if (c === NULL) hasEmpty = true;
      i = skipPlain(b, i, end);
    }
    if (i < 0 || i > end) return i < 0 ? i : BAD;
    // A value has ended: close the levels whose last value it was, or continue with the next member.
    for (;;) {
      if (depth === 0) {
        if (budget) budget.values = left;
        if (budget && hasEmpty) budget.withEmpty = (budget.withEmpty ?? 0) + 1;
        return i;
      }
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
    }
  }
}

/** Skips from the opening quote of a key to its value. Returns BAD or LONE on a fault. */
function toMemberValue(b: Buffer, at: number, end: number, strict: boolean): number {
  const behind = skipKey(b, at, end, strict);
  return behind < 0 ? behind : skipColon(b, behind, end);
}

/** Receives the members of an object. Passes numbers instead of an object per member, because this is the hot path. */
export interface MemberVisitor {
  /** The key's JSON string is at [keyAt, keyEnd), its value at [at, end). Return false to stop. */
  member(keyAt: number, keyEnd: number, at: number, end: number): boolean;
}

/**
 * Passes the members of the object at `at` to `visitor`, until it returns false. Returns the offset after the object
 * (or where it stopped), or BAD, DEEP, MANY or LONE. `innerOf` may return a visitor for the members of a member, for
 * the same pass.
 */
export function eachMember(
  b: Buffer,
  at: number,
  end: number,
  options: WalkOptions,
  visitor: MemberVisitor,
  innerOf?: (keyAt: number, keyEnd: number) => MemberVisitor | undefined,
): number {
  if (at >= end || b[at] !== OPEN_OBJECT) return BAD;
  if (options.maxDepth < 1) return DEEP;
  const { budget, walked } = options;
  const inside = { maxDepth: options.maxDepth - 1, strict: options.strict, budget, walked };
  let i = skipWalkedSpace(b, at + 1, end, walked);
  if (i < end && b[i] === CLOSE_OBJECT) return i + 1;
  for (;;) {
    if (budget) {
      if (budget.values <= 0) return MANY;
      budget.values -= 1;
    }
    const keyEnd = skipKey(b, i, end, options.strict, walked);
    if (keyEnd < 0) return keyEnd;
    const valueAt = skipColon(b, keyEnd, end, walked);
    if (valueAt < 0) return BAD;
    const inner = innerOf && b[valueAt] === OPEN_OBJECT ? innerOf(i, keyEnd) : undefined;
    const behind = inner ? eachMember(b, valueAt, end, inside, inner) : skipValue(b, valueAt, end, inside);
    if (behind < 0) return behind;
    if (!visitor.member(i, keyEnd, valueAt, behind)) return behind;
    i = skipWalkedSpace(b, behind, end, walked);
    if (i >= end) return BAD;
    if (b[i] === CLOSE_OBJECT) return i + 1;
    if (b[i] !== COMMA) return BAD;
    i = skipWalkedSpace(b, i + 1, end, walked);
  }
}

/** Passes the elements of the array at `at` to `visitor`, in the same way. */
export function eachElement(
  b: Buffer,
  at: number,
  end: number,
  options: WalkOptions,
  visit: (at: number, end: number) => boolean,
): number {
  if (at >= end || b[at] !== OPEN_ARRAY) return BAD;
  if (options.maxDepth < 1) return DEEP;
  const i = skipWalkedSpace(b, at + 1, end, options.walked);
  return i < end && b[i] === CLOSE_ARRAY ? i + 1 : elementsFrom(b, i, end, options, visit);
}

/** Passes the elements from the one at `first` on. */
export function elementsFrom(
  b: Buffer,
  first: number,
  end: number,
  options: WalkOptions,
  visit: (at: number, end: number) => boolean,
): number {
  const { strict, budget, walked } = options;
  const inside = { maxDepth: options.maxDepth - 1, strict, budget, walked };
  for (let i = first; ; ) {
    const behind = skipValue(b, i, end, inside);
    if (behind < 0) return behind;
    if (!visit(i, behind)) return behind;
    i = skipWalkedSpace(b, behind, end, walked);
    if (i >= end) return BAD;
    if (b[i] === CLOSE_ARRAY) return i + 1;
    if (b[i] !== COMMA) return BAD;
    i = skipWalkedSpace(b, i + 1, end, walked);
  }
}

/**
 * Returns where the element after the one that ends at `at` begins. Returns BAD after the last element and when there
 * is no array.
 */
export function nextElement(b: Buffer, at: number, end: number): number {
  const i = skipSpace(b, at, end);
  return i < end && b[i] === COMMA ? skipSpace(b, i + 1, end) : BAD;
}
