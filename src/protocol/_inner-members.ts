/**
 * Records the positions of members of params and of a result during the walk over a message, and detects when there are
 * too many.
 * Values are not inspected, except for the first byte of each result member.
 */
import { Refusal } from '../model/outcome.ts';
import { keyIs, skipSpace } from './_scalar.ts';
import type { Budget, MemberVisitor } from './_value.ts';

const OPEN_OBJECT = 0x7b;
const OPEN_ARRAY = 0x5b;
const NULL = 0x6e;
/** Maximum recorded members of params where no other limit applies; a call has three. */
const MAX_IN_PARAMS = 16;
/** Maximum members of a server's result, and maximum recorded empty members. */
const MAX_IN_RESULT = 1024;
const EMPTY_MEMBERS = 16;
/** A value with more bytes is never considered empty, whatever white space it contains. */
export const EMPTY_BYTES = 64 * 1024;
/** The member of params that holds a tool's arguments; the hub does not inspect it. */
const ARGUMENTS = 'arguments';
const RESPONSES = 'inputResponses';

/** Limits of params, and the number of values that the walk over the body may still visit. */
export interface ParamsBounds {
  readonly bounds: { readonly paramsMembers: number; readonly paramsValues: number; readonly paramsBytes: number };
  readonly budget: Budget;
}

/** Limits only the number of members whose names the hub reads. */
export interface ParamsCount {
  readonly paramsMembers: number;
}

/** Records the positions of the members of params, and refuses params that exceed the limits. */
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

  /** Everything except the payload must be small, because it is walked over several times. */
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

  /** Returns positions relative to `at`, or undefined when there are too many to record. */
  from(at: number): readonly number[] | undefined {
    if (!this.#full && this.#spans.length > 4 * MAX_IN_PARAMS) return undefined;
    return at === 0 ? this.#spans : this.#spans.map((place) => place - at);
  }
}

/**
 * Counts the members of a server's result, whose names the hub reads (a result has five or six), and records the
 * positions of members that are empty or contain an empty value.
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

  /** Returns the positions of empty members, relative to `at`. */
  from(at: number): readonly number[] | undefined {
    return at === 0 ? this.#empty : this.#empty?.map((place) => place - at);
  }

  /** Returns the positions of members that are not empty but contain a null or an empty array. */
  insideFrom(at: number): readonly number[] | undefined {
    return at === 0 ? this.#emptyInside : this.#emptyInside?.map((place) => place - at);
  }
}

function kept(places: number[] | undefined, place: readonly [number, number, number, number]): number[] {
  const all = places ?? [];
  if (all.length < 4 * EMPTY_MEMBERS) all.push(...place);
  return all;
}

/** Returns true for null, and for an array or object without content. */
function isEmptyValue(bytes: Buffer, at: number, end: number): boolean {
  const first = bytes[at];
  if (first !== OPEN_ARRAY && first !== OPEN_OBJECT) return first === NULL;
  return bytes[end - 2] === first || (end - at <= EMPTY_BYTES && skipSpace(bytes, at + 1, end) === end - 1);
}
