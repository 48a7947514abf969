/**
 * Large values, names and stretches of white space of one JSON text that have been walked over, so that the walk that reads the message takes no time for them.
 */
import { skipSpace } from './_scalar.ts';
import { MANY } from './_strict-string.ts';

const SPACE = 0x20;

/** Values that a walk may still meet; shared by all walks over one body. */
export interface Budget {
  values: number;
  /** Arrays and objects that held a null or an empty array somewhere, so far. */
  withEmpty?: number;
}

interface WalkedValue {
  /** Behind its last byte, or the fault in it. */
  readonly end: number;
  /** In it, itself included where it is an array or object. */
  readonly values: number;
  readonly hasEmpty: boolean;
}

export class WalkedValues {
  /** What the walk returned: behind the text that it walked over, or the fault in it. */
  end = MANY;
  readonly #values = new Map<number, WalkedValue>(); // bounded by: some for each `largeBytes` of the text (`_ahead.ts`)

  add(at: number, value: WalkedValue): void {
    this.#values.set(at, value);
  }

  /** What a walk over the value at `at` returns, with its effect on the budget; undefined = it is not known. */
  take(at: number, budget: Budget | undefined): number | undefined {
    const value = this.#values.get(at);
    if (value === undefined || value.end < 0) return value?.end;
    if (budget) {
      if (budget.values < value.values) return MANY;
      budget.values -= value.values;
      if (value.hasEmpty) budget.withEmpty = (budget.withEmpty ?? 0) + 1;
    }
    return value.end;
  }

  /** As `skipSpace`. */
  space(b: Buffer, at: number, end: number): number {
    // A stretch begins where no value and no name does.
    if ((b[at] as number) > SPACE) return at;
    return this.#values.get(at)?.end ?? skipSpace(b, at, end);
  }
}
