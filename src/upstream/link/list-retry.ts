/**
 * Asks for lists again that a server did not give when it became ready: after 2, 5, 15 and 60 s.
 * Guarantees: ends as soon as nothing is missing; a list of which nothing could be read is asked for each minute from then on.
 */
import type { Runtime } from '../../runtime/runtime.ts';

/** From the first reading, ms. */
const AFTER_MS = [2000, 5000, 15_000, 60_000] as const;
const EVERY_MS = 60_000;
/** From the end of one reading to the next at least, ms. */
const PAUSE_MS = 1000;

export interface ListRetryParts {
  readonly runtime: Pick<Runtime, 'timers' | 'clock'>;
  /** `unread` = nothing of a list was read, `more` = the rest of one may be missing; undefined = nothing is. */
  readonly wants: () => 'unread' | 'more' | undefined;
  /** Reads the lists again; `read` is to be called when that is done. */
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

  /** The lists have been read. */
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
