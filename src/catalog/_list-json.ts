/**
 * The JSON text of one list of a view, built once at its first use; a long one over several turns of the event loop.
 */
import { atOnce, inTurns, type TurnsRuntime } from '../runtime/take-turn.ts';

/** A shorter list is built at once, in about 1 ms. */
const LARGE_CHARS = 256 * 1024;

export class ListJson {
  readonly #make: () => Iterator<void, Buffer>;
  #text: Buffer | undefined;
  #preparing: Promise<void> | undefined;

  /** `make` returns the text, in steps of about 1 ms. */
  constructor(make: () => Iterator<void, Buffer>) {
    this.#make = make;
  }

  /** Whether the text is built. */
  get isReady(): boolean {
    return this.#text !== undefined;
  }

  /** Returns the text, always the same buffer. Callers must not modify it. */
  text(): Buffer {
    this.#text ??= atOnce(this.#make());
    return this.#text;
  }

  /** Builds the text in steps. */
  *steps(): Generator<void, void> {
    const steps = this.#make();
    while (this.#text === undefined) {
      const step = steps.next();
      if (step.done) this.#text ??= step.value;
      else yield;
    }
  }

  /**
   * Builds the text over several turns when it is long (about `chars` characters); concurrent callers share the work.
   * Returns undefined when that is not needed. Never rejects.
   */
  prepare(chars: number, runtime: TurnsRuntime): Promise<void> | undefined {
    if (this.#text !== undefined || chars < LARGE_CHARS) return undefined;
    this.#preparing ??= inTurns(this.steps(), runtime, { owner: 'catalog' });
    return this.#preparing;
  }
}
