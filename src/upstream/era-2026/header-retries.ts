/**
 * Calls that a server has refused because its tool declares other headers than the hub had read: they wait until its
 * list was read again, and are sent once more.
 * Guarantees: each is sent or given up within `WAIT_MS`, or forgotten with its call.
 */
import type { Timers } from '../../runtime/clock.ts';
import type { ToolHeaders } from './tool-headers.ts';

/** A new reading of a list begins within two seconds; a call without a sign of life ends after five. */
const WAIT_MS = 4000;

export class HeaderRetries implements Disposable {
  readonly #timers: Timers;
  readonly #toolHeaders: ToolHeaders;
  readonly #held = new Map<number, Disposable>(); // bounded by: the requests in flight

  constructor(timers: Timers, toolHeaders: ToolHeaders) {
    this.#timers = timers;
    this.#toolHeaders = toolHeaders;
  }

  /** `settle` is called with whether the list was read. */
  hold(id: number, settle: (isLearned: boolean) => void): void {
    this.forget(id);
    const end = (isLearned: boolean): void => {
      this.forget(id);
      settle(isLearned);
    };
    const forget = this.#toolHeaders.onLearned(() => end(true));
    const timer = this.#timers.after(WAIT_MS, () => end(false));
    this.#held.set(id, {
      [Symbol.dispose]() {
        forget();
        timer[Symbol.dispose]();
      },
    });
  }

  forget(id: number): void {
    this.#held.get(id)?.[Symbol.dispose]();
    this.#held.delete(id);
  }

  [Symbol.dispose](): void {
    for (const id of [...this.#held.keys()]) this.forget(id);
  }
}
