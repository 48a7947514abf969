/**
 * Walks over JSON text without building anything: the byte loop under `scan.ts`.
 * Promises: iterative (nesting costs no stack), linear, stops at the first fault; a walk over megabytes can pause (`_ahead.ts`).
 * Does not: look into strings and numbers (`_scalar.ts`) or know what a message is (`scan.ts`).
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
  /** Absent = no limit but that of the bytes. */
  readonly budget?: Budget | undefined;
  /** Large values of this text that have been walked over before, with the same options. */
  readonly walked?: WalkedValues | undefined;
}

export const UNBOUNDED = 0x3fffffff;

/** From the opening quote of a key to behind its closing one, or BAD or LONE. */
function skipKey(b: Buffer, at: number, end: number, strict: boolean, walked?: WalkedValues): number {
  if (at >= end || b[at] !== QUOTE) return BAD;
  return walked?.take(at, undefined) ?? skipString(b, at, end, strict);
}

/** From behind a key to its value. */
function skipColon(b: Buffer, at: number, end: number, walked?: WalkedValues): number {
  const colon = b[at] === COLON ? at : skipWalkedSpace(b, at, end, walked);
  return colon < end && b[colon] === COLON ? skipWalkedSpace(b, colon + 1, end, walked) : BAD;
}

function skipWalkedSpace(b: Buffer, at: number, end: number, walked: WalkedValues | undefined): number {
  return walked === undefined ? skipSpace(b, at, end) : walked.space(b, at, end);
}

/** `at` is on the first byte of a value; the answer is behind its last one, or BAD, DEEP, MANY or LONE. */
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
    // A value is over: close what it was the last of, or go on to the next member.
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

/** From the opening quote of a key to its value, or BAD or LONE. */
function toMemberValue(b: Buffer, at: number, end: number, strict: boolean): number {
  const behind = skipKey(b, at, end, strict);
  return behind < 0 ? behind : skipColon(b, behind, end);
}

/** Hears of the members of an object. Numbers instead of an object for each: this is the hot path. */
export interface MemberVisitor {
  /** The key's JSON string is at [keyAt, keyEnd), its value at [at, end). False = seen enough. */
  member(keyAt: number, keyEnd: number, at: number, end: number): boolean;
}

/**
 * Gives the members of the object at `at` one by one to `visitor`, until it returns false. The answer is behind the object (or where
 * it stopped), or BAD, DEEP, MANY or LONE. `innerOf` may return a visitor for the members of a member, in the same pass.
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

/** The same for the elements of an array. */
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

/** The elements from the one at `first` on. */
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

/** Where the next element begins behind the one that ends at `at`; BAD = that was the last one, or no array is there. */
export function nextElement(b: Buffer, at: number, end: number): number {
  const i = skipSpace(b, at, end);
  return i < end && b[i] === COMMA ? skipSpace(b, i + 1, end) : BAD;
}
