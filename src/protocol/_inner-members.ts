/**
 * What the walk over a message notes of the members of params and of a result: their places, and whether there are too many.
 * Does not: look at values, but for the first byte of each in a result.
 */
import { Refusal } from '../model/outcome.ts';
import { keyIs, skipSpace } from './_scalar.ts';
import type { Budget, MemberVisitor } from './_value.ts';

const OPEN_OBJECT = 0x7b;
const OPEN_ARRAY = 0x5b;
const NULL = 0x6e;
/** Members of params whose places are kept where nothing else bounds them; a call has three. */
const MAX_IN_PARAMS = 16;
/** Members of a server's result, and the empty ones of which the places are kept. */
const MAX_IN_RESULT = 1024;
const EMPTY_MEMBERS = 16;
/** What takes more bytes is not taken for empty, whatever white space is in it. */
export const EMPTY_BYTES = 64 * 1024;
/** Members of params that carry what servers want, and that the hub does not look through. */
const ARGUMENTS = 'arguments';
const RESPONSES = 'inputResponses';

/** Bounds of params, and the values that the walk over the body may still meet. */
export interface ParamsBounds {
  readonly bounds: { readonly paramsMembers: number; readonly paramsValues: number; readonly paramsBytes: number };
  readonly budget: Budget;
}

/** Only the number of members is bounded, of which the hub looks at the names. */
export interface ParamsCount {
  readonly paramsMembers: number;
}

/** Where the members of params lie, and what is too much of them. */
export class ParamsMembers implements MemberVisitor {
  readonly #bytes: Buffer;
  readonly #full: ParamsBounds | undefined;
  readonly #most: ParamsCount | undefined;
  readonly #spans: number[] = []; // bounded by: paramsMembers, or MAX_IN_PARAMS
  #valuesBefore: number;
  #values = 0;
  #size = 0;
  #count = 0;
  refusal: Refusal | undefined;

  constructor(bytes: Buffer, bounds: ParamsBounds | ParamsCount | undefined) {
    this.#bytes = bytes;
    if (bounds && 'budget' in bounds) this.#full = bounds;
    else this.#most = bounds;
    this.#valuesBefore = this.#full?.budget.values ?? 0;
  }

  member(keyAt: number, keyEnd: number, at: number, end: number): boolean {
    if (this.#full) return this.#bounded(this.#full, keyAt, keyEnd, at, end);
    this.#count += 1;
    const most = this.#most;
    if (most && this.#count > most.paramsMembers) return this.#refuse('paramsMembers', 'members', most);
    if (this.#spans.length <= 4 * MAX_IN_PARAMS) this.#spans.push(keyAt, keyEnd, at, end);
    return true;
  }

  /** What is walked over again and again must be small: all but the payload. */
  #bounded({ bounds, budget }: ParamsBounds, keyAt: number, keyEnd: number, at: number, end: number): boolean {
    const values = this.#valuesBefore - budget.values;
    this.#valuesBefore = budget.values;
    if (this.#spans.length >= 4 * bounds.paramsMembers) return this.#refuse('paramsMembers', 'members', bounds);
    this.#spans.push(keyAt, keyEnd, at, end);
    if (keyIs(this.#bytes, keyAt, keyEnd, ARGUMENTS) || keyIs(this.#bytes, keyAt, keyEnd, RESPONSES)) return true;
    this.#values += values;
    this.#size += end - keyAt;
    if (this.#values > bounds.paramsValues) return this.#refuse('paramsValues', 'values outside of arguments', bounds);
    if (this.#size > bounds.paramsBytes) return this.#refuse('paramsBytes', 'bytes outside of arguments', bounds);
    return true;
  }

  #refuse<K extends keyof ParamsBounds['bounds']>(
    setting: K,
    what: string,
    bounds: Readonly<Record<K, number>>,
  ): false {
    this.refusal = new Refusal('invalid-request', `The params have more than ${bounds[setting]} ${what}.`, { setting });
    return false;
  }

  /** Counted from there; undefined = there are too many to be kept. */
  from(at: number): readonly number[] | undefined {
    if (!this.#full && this.#spans.length > 4 * MAX_IN_PARAMS) return undefined;
    return at === 0 ? this.#spans : this.#spans.map((place) => place - at);
  }
}

/**
 * Counts the members of a server's result, whose names the hub looks at (a result has five or six), and keeps the places of those that are empty
 * or hold something empty.
 */
export class ResultMembers implements MemberVisitor {
  readonly #bytes: Buffer;
  readonly #budget: Budget | undefined;
  #empty: number[] | undefined; // bounded by: EMPTY_MEMBERS; almost always absent
  #emptyInside: number[] | undefined; // bounded by: EMPTY_MEMBERS
  #withEmpty = 0;
  #count = 0;
  refusal: Refusal | undefined;

  constructor(bytes: Buffer, budget: Budget | undefined) {
    this.#bytes = bytes;
    this.#budget = budget;
    this.#withEmpty = budget?.withEmpty ?? 0;
  }

  member(keyAt: number, keyEnd: number, at: number, end: number): boolean {
    this.#count += 1;
    if (this.#count > MAX_IN_RESULT)
      this.refusal = new Refusal('invalid-request', `The result has more than ${MAX_IN_RESULT} members.`);
    const withEmpty = this.#budget?.withEmpty ?? 0;
    if (isEmptyValue(this.#bytes, at, end)) this.#empty = kept(this.#empty, [keyAt, keyEnd, at, end]);
    else if (withEmpty > this.#withEmpty) this.#emptyInside = kept(this.#emptyInside, [keyAt, keyEnd, at, end]);
    this.#withEmpty = withEmpty;
    return this.refusal === undefined;
  }

  /** The places of empty members, counted from there. */
  from(at: number): readonly number[] | undefined {
    return at === 0 ? this.#empty : this.#empty?.map((place) => place - at);
  }

  /** The same of members that are not empty and hold a null or an empty array. */
  insideFrom(at: number): readonly number[] | undefined {
    return at === 0 ? this.#emptyInside : this.#emptyInside?.map((place) => place - at);
  }
}

function kept(places: number[] | undefined, place: readonly [number, number, number, number]): number[] {
  const all = places ?? [];
  if (all.length < 4 * EMPTY_MEMBERS) all.push(...place);
  return all;
}

/** Null, or an array or object without anything in it. */
function isEmptyValue(bytes: Buffer, at: number, end: number): boolean {
  const first = bytes[at];
  if (first !== OPEN_ARRAY && first !== OPEN_OBJECT) return first === NULL;
  return bytes[end - 2] === first || (end - at <= EMPTY_BYTES && skipSpace(bytes, at + 1, end) === end - 1);
}
