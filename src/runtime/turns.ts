/**
 * Schedules work that takes milliseconds, such as starting a program: one piece in each turn of the event loop, in the
 * order of the requests, so that many pieces delay other work no longer than one does.
 * Guarantees: when no piece has run recently, the first one does not wait; input and timers are handled between two
 * pieces.
 */
import type { Timers } from './clock.ts';

export class Turns {
  readonly #timers: Pick<Timers, 'afterInput'>;
  // bounded by: children that start at once (limits.starting, installs), servers whose lists are being worked on, and
  // answers and streams of servers that are being read
  readonly #waiting: (() => void)[] = [];
  #isTaken = false;

  constructor(timers: Pick<Timers, 'afterInput'>) {
    this.#timers = timers;
  }

  /** Settles in a turn that no other caller gets. Never rejects. Run the work at once. */
  next(): Promise<void> {
    if (this.#isTaken) return new Promise((resolve) => this.#waiting.push(resolve));
    this.#take();
    return Promise.resolve();
  }

  /** Runs `work` in a later turn that no other caller gets. */
  call(work: () => void): void {
    this.used();
    this.#waiting.push(work);
  }

  /** Marks this turn as used by milliseconds of work: the next caller gets another one. */
  used(): void {
    if (!this.#isTaken) this.#take();
  }

  #take(): void {
    this.#isTaken = true;
    // Twice, because the first one may belong to the same turn.
    this.#timers.afterInput(() => this.#timers.afterInput(() => this.#release()));
  }

  #release(): void {
    this.#isTaken = false;
    const next = this.#waiting.shift();
    if (!next) return;
    this.#take();
    next();
  }
}
