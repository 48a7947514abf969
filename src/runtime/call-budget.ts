/**
 * How long one request to a server may take: made once, and passed whole from the step that makes the call to the
 * connection that waits for its reply. Guarantees: there is always a deadline; what ends the request in time names the
 * setting that allows more.
 */

import type { Deadline } from './deadline.ts';

/** The times of one call beside its total, in ms. */
export interface CallLimits {
  /** Longest silence of the server (default of the limit `silenceMs`: 5 s). */
  readonly silenceMs: number;
  /** Silence after which the server is probed (limit `questionMs`), at most half of the longest silence. */
  readonly questionMs: number;
  /** Strict timeout, from the sending to the reply, whatever the signs of life; undefined for none, the default. */
  readonly callTimeoutMs: number | undefined;
}

export class CallBudget implements Disposable {
  /** Ends the request: its time is over, its caller has left or lost its key, or the hub drains. */
  readonly deadline: Deadline;
  readonly #limits: CallLimits | undefined;
  #setting: string;
  #allowedMs = 0;

  /**
   * `setting`: the name of the setting that extends `deadline`. Without `limits` (lists, pings, handshakes) the request
   * may be silent until its deadline.
   */
  constructor(deadline: Deadline, setting: string, limits?: CallLimits) {
    this.deadline = deadline;
    this.#setting = setting;
    this.#limits = limits;
  }

  /** Name of the setting that governs: to raise it lets the deadline end later. */
  get setting(): string {
    return this.#setting;
  }

  /** Configured longest silence in ms; undefined for requests without a limit on silence. */
  get configuredSilenceMs(): number | undefined {
    return this.#limits?.silenceMs;
  }

  /** Silence after which the request ends, ms; undefined for requests without a limit on silence. */
  get silenceMs(): number | undefined {
    const limits = this.#limits;
    return limits && Math.max(limits.silenceMs, this.#allowedMs);
  }

  /** Silence after which the server is probed, ms: the probe needs time before `silenceMs`. 0 without a limit on it. */
  get questionMs(): number {
    const limits = this.#limits;
    return limits ? Math.min(limits.questionMs, Math.max(limits.silenceMs, this.#allowedMs) / 2) : 0;
  }

  /** Allows a silence of at least `ms`: the server was slower than its limit before, and alive. */
  allowSilence(ms: number): void {
    this.#allowedMs = ms;
  }

  /** Starts the strict timeout, if there is one that ends before the deadline; from then on it governs. */
  startStrictTimeout(): void {
    const ms = this.#limits?.callTimeoutMs;
    if (ms === undefined || ms >= this.deadline.remainingMs()) return;
    this.deadline.moveTo(this.deadline.clock.nowMs() + ms);
    this.#setting = 'callTimeoutMs';
  }

  /** The request is over: its deadline ends without calling a listener. */
  [Symbol.dispose](): void {
    this.deadline[Symbol.dispose]();
  }
}
