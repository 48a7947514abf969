/**
 * The JSON text of one list of a view, made once at its first use: a long one over several turns of the event loop.
 */
import { atOnce, inTurns, type TurnsKernel } from '../kernel/take-turn.ts';

/** A shorter list is made at once, in about a millisecond. */
const LARGE_CHARS = 256 * 1024;

export class ListJson {
  readonly #make: () => Iterator<void, Buffer>;
  #text: Buffer | undefined;
  #preparing: Promise<void> | undefined;

  /** `make` = the text in steps of about a millisecond. */
  constructor(make: () => Iterator<void, Buffer>) {
    this.#make = make;
  }

  /** It has been asked for, and `text` costs nothing. */
  get isReady(): boolean {
    return this.#text !== undefined;
  }

  /** The same buffer every time. Not to be written to. */
  text(): Buffer {
    this.#text ??= atOnce(this.#make());
    return this.#text;
  }

  /** Makes the text, in steps. */
  *steps(): Generator<void, void> {
    const steps = this.#make();
    while (this.#text === undefined) {
      const step = steps.next();
      if (step.done) this.#text ??= step.value;
      else yield;
    }
  }

  /** Makes the text over several turns when it has about `chars` characters; all who ask share the work. Undefined = there is no need. Never rejects. */
  prepare(chars: number, kernel: TurnsKernel): Promise<void> | undefined {
    if (this.#text !== undefined || chars < LARGE_CHARS) return undefined;
    this.#preparing ??= inTurns(this.steps(), kernel, { owner: 'catalog' });
    return this.#preparing;
  }
}
