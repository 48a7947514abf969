/**
 * The state of a link: since when, why, and the callers that wait for it to settle. `link.ts` decides.
 * Guarantees: `settled` resolves at every end of connecting, whether it succeeded or failed.
 */

import type { HubError } from '../../model/errors.ts';
import type { LinkPhase, LinkState } from '../../model/events.ts';
import type { InitializeResult } from '../../protocol/era-2025/initialize.ts';
import type { Clock } from '../../runtime/clock.ts';

/** The visible state. */
export interface LinkView {
  readonly state: LinkState;
  readonly phase: LinkPhase | undefined;
  readonly fault: HubError | undefined;
  readonly sinceMs: number;
  readonly retryMs: number | undefined;
  /** Number of connections that have ended. */
  readonly restarts: number;
  /** How many in a row of these ended early; 0 when the last was a good one, or none has ended. */
  readonly deaths: number;
  readonly hello: InitializeResult | undefined;
  readonly raisedMs: number | undefined;
}

export class LinkStateTracker {
  readonly #clock: Clock;
  #state: LinkState = 'idle';
  #phase: LinkPhase | undefined;
  #changedMs: number;
  #settled = Promise.withResolvers<void>();
  #isSettled = false;
  /** Why the last connection ended; undefined while there is no fault. */
  fault: HubError | undefined;
  retryAtMs: number | undefined;
  restarts = 0;
  #deaths = 0;
  hello: InitializeResult | undefined;
  raisedMs: number | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#changedMs = clock.nowMs();
  }

  get state(): LinkState {
    return this.#state;
  }

  get phase(): LinkPhase | undefined {
    return this.#phase;
  }

  /** True until the first attempt to connect has ended. */
  get isBeginning(): boolean {
    return this.restarts === 0 && (this.#state === 'idle' || this.#state === 'connecting');
  }

  /** Settles when the next attempt to connect has succeeded or failed, or the link is stopped. */
  get settled(): Promise<void> {
    return this.#settled.promise;
  }

  get view(): LinkView {
    const nowMs = this.#clock.nowMs();
    const { fault, restarts, hello, raisedMs, retryAtMs } = this;
    return {
      deaths: this.#deaths,
      ...{ state: this.#state, phase: this.#phase, sinceMs: nowMs - this.#changedMs, fault, restarts, hello, raisedMs },
      retryMs: retryAtMs === undefined ? undefined : Math.max(0, retryAtMs - nowMs),
    };
  }

  enter(state: LinkState, phase?: LinkPhase): void {
    const was = this.#state;
    if (was !== state) this.#changedMs = this.#clock.nowMs();
    const isOver = state === 'ready' || state === 'stopped' || (was === 'connecting' && state !== 'connecting');
    this.#state = state;
    this.#phase = phase;
    if (state !== 'waiting') this.retryAtMs = undefined;
    if (isOver) {
      this.#settled.resolve();
      this.#isSettled = true;
    }
    if (this.#isSettled && state !== 'ready' && state !== 'stopped') {
      this.#settled = Promise.withResolvers<void>();
      this.#isSettled = false;
    }
  }

  /**
   * Records the end of a connection, the last of `deaths` in a row that ended early; the next starts after `retryMs`.
   */
  rests(retryMs: number, deaths: number): void {
    this.restarts += 1;
    this.#deaths = deaths;
    this.retryAtMs = this.#clock.nowMs() + retryMs;
  }

  /** Raises the silence limit, which was too short; calls `raised` if the value increases. */
  raise(silenceMs: number, raised: () => void): void {
    if ((this.raisedMs ?? 0) >= silenceMs) return;
    this.raisedMs = silenceMs;
    raised();
  }

  failed(fault: HubError): void {
    this.fault = fault;
    this.enter('waiting');
  }

  becomeReady(hello: InitializeResult): void {
    this.hello = hello;
    this.fault = undefined;
    this.enter('ready');
  }

  /** Enters the next phase of connecting. */
  step(phase: LinkPhase): void {
    if (this.#state === 'connecting') this.#phase = phase;
  }
}
