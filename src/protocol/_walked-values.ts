/**
 * Records large values, names and white space of a JSON text that were walked over, so that the walk that reads the
 * message can skip them.
 */
import { skipSpace } from './_scalar.ts';
import { MANY } from './_strict-string.ts';

const SPACE = 0x20;

/** The number of values that a walk may still visit; shared by all walks over one body. */
export interface Budget {
  values: number;
  /** Number of arrays and objects so far that contained a null or an empty array. */
  withEmpty?: number;
}

interface WalkedValue {
  /** Offset after the last byte, or the fault in the value. */
  readonly end: number;
  /** Number of values in it, including itself when it is an array or object. */
  readonly values: number;
  readonly hasEmpty: boolean;
}

export class WalkedValues {
  /** What the walk returned: the offset after the text, or the fault in it. */
  end = MANY;
  readonly #values = new Map<number, WalkedValue>(); // bounded by: some for each `largeBytes` of the text (`_ahead.ts`)

  add(at: number, value: WalkedValue): void {
    this.#values.set(at, value);
  }

  /**
   * Returns the result of a walk over the value at `at` and applies its effect on the budget; undefined when the value
   * was not recorded.
   */
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

  /** Works like `skipSpace`. */
  space(b: Buffer, at: number, end: number): number {
    // White space never begins where a value or a name does.
    if ((b[at] as number) > SPACE) return at;
    return this.#values.get(at)?.end ?? skipSpace(b, at, end);
  }
}
