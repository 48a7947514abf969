/**
 * Large values of one JSON text that have been walked over, so that the walk that reads the message takes no time for them.
 */
import { MANY } from './_strict-string.ts';

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
}
