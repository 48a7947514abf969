/**
 * Retries lists that a server did not return when it became ready: after 2, 5, 15 and 60 s.
 * Guarantees: ends as soon as nothing is missing; a list that could not be read at all is then requested every minute.
 */
import type { Runtime } from '../../runtime/runtime.ts';

/** From the first reading, ms. */
const AFTER_MS = [2000, 5000, 15_000, 60_000] as const;
const EVERY_MS = 60_000;
/** Minimum time from the end of one reading to the next, ms. */
const PAUSE_MS = 1000;

export interface ListRetryParts {
  readonly runtime: Pick<Runtime, 'timers' | 'clock'>;
  /** `unread`: nothing of a list was read; `more`: a part may be missing; undefined: nothing is. */
  readonly wants: () => 'unread' | 'more' | undefined;
  /** Reads the lists again; the reader calls `read` when it has finished. */
  readonly again: () => void;
}

export class ListRetry implements Disposable {
  readonly #parts: ListRetryParts;
  #timer: Disposable | undefined;
  #step = 0;
  /** When the first reading ended. */
  #bornMs = 0;
  #over = false;

  constructor(parts: ListRetryParts) {
    this.#parts = parts;
    this.read();
  }

  /** Records that the lists have been read. */
  read(): void {
    const wants = this.#parts.wants();
    if (wants === undefined) this.#stop();
    if (wants === undefined || this.#over || this.#timer) return;
    const { clock, timers } = this.#parts.runtime;
    const nowMs = clock.nowMs();
    if (this.#step === 0) this.#bornMs = nowMs;
    const afterMs = AFTER_MS[this.#step];
    if (afterMs === undefined && wants === 'more') return;
    const restMs = afterMs === undefined ? EVERY_MS : Math.max(this.#bornMs + afterMs - nowMs, PAUSE_MS);
    this.#timer = timers.after(restMs, () => {
      this.#timer = undefined;
      this.#step += 1;
      if (this.#parts.wants() !== undefined) this.#parts.again();
    });
  }

  #stop(): void {
    this.#timer?.[Symbol.dispose]();
    this.#timer = undefined;
    this.#step = 0;
  }

  [Symbol.dispose](): void {
    this.#over = true;
    this.#stop();
  }
}
