/**
 * One request to a server: its slot, its silence watch, its one answer. `correlator.ts` sends it and finds answers.
 * Guarantees: it settles exactly once, also when the answer is late, duplicate or missing; a sign of life re-arms the
 * watch; afterwards nothing of it remains in the timer wheel or the table of waits.
 */

import type { Outcome } from '../../model/outcome.ts';
import type { BackChannel } from '../../protocol/back-channel.ts';
import type { CallBudget } from '../../runtime/call-budget.ts';
import { IdleWatch } from '../../runtime/idle-watch.ts';
import type { Runtime } from '../../runtime/runtime.ts';
import type { WaitLabel } from '../../runtime/wait-labels.ts';
import type { Wait } from '../../runtime/waits.ts';
import type { UpstreamReply } from '../call.ts';

export interface RequestOptions {
  readonly method: string;
  readonly label: WaitLabel;
  readonly owner: string;
  /** Share of the key that made the call; absent for the hub's own requests. */
  readonly share?: string;
  readonly budget: CallBudget;
  readonly back: BackChannel;
  /** Decides when the call is silent; absent for the hub's own requests. */
  readonly watch?: SilenceWatch;
}

/** Called when a call is silent. */
export interface SilenceWatch {
  /** Silent for a while: send a probe. */
  silent(pending: PendingRequest): void;
  /** Silent for `silenceMs`: end it, or `touch` it when there was another sign of life. */
  tooSilent(pending: PendingRequest, silentMs: number): void;
}

export interface PendingRequestHandlers {
  /** Its deadline has ended. */
  ended(pending: PendingRequest): void;
  /** It has settled: free its slot. */
  settled(pending: PendingRequest): void;
}

export class PendingRequest {
  readonly id: number;
  readonly plan: RequestOptions;
  readonly sentMs: number;
  /** CPU time of the server at the last check, ms. */
  cpuMs: number | undefined;
  /** Its answer has come. */
  answered = false;
  /** Its exchange has ended with a fault that is its own, or with an answer that cannot be used. */
  failed = false;
  /** It was sent once more after the session was lost. */
  resent = false;
  #resolve: ((outcome: Outcome<UpstreamReply>) => void) | undefined;
  readonly #handlers: PendingRequestHandlers;
  #wait: Wait | undefined;
  #watch: IdleWatch | undefined;
  #forget: (() => void) | undefined;
  #asked = false;
  /** Number of open input rounds; what was left of the total time when the first one began. */
  #held = 0;
  #leftMs = 0;

  constructor(id: number, plan: RequestOptions, handlers: PendingRequestHandlers, nowMs: number) {
    this.id = id;
    this.plan = plan;
    this.sentMs = nowMs;
    this.#handlers = handlers;
  }

  /** Adds it to the table of waits and arms the watch. Throws HubError `overloaded` when the table is full. */
  begin(runtime: Runtime, resolve: (outcome: Outcome<UpstreamReply>) => void): void {
    const { label, owner, budget, watch } = this.plan;
    this.#wait = runtime.waits.open(label, owner, budget.deadline, this.sentMs);
    this.#resolve = resolve;
    if (watch && budget.silenceMs !== undefined)
      this.#watch = new IdleWatch(budget.questionMs, runtime.wheel, (silentMs) => this.#idle(silentMs), this.sentMs);
    this.#forget = budget.deadline.onEnd(() => this.#handlers.ended(this));
  }

  get over(): boolean {
    return this.#resolve === undefined;
  }

  /** Records a sign of life. `nowMs`: the current time, if the caller has it. */
  touch(nowMs?: number): void {
    this.#watch?.touch(nowMs);
    if (!this.#asked) return;
    this.#asked = false;
    this.#watch?.rearm(this.plan.budget.questionMs);
  }

  /**
   * Stops silence limit and total time while the user is asked, for at most `longestMs`. Returns a function that the
   * caller calls once, when the answer has come.
   */
  hold(longestMs: number): () => void {
    const { deadline } = this.plan.budget;
    if (this.#held === 0) this.#leftMs = deadline.remainingMs();
    this.#held += 1;
    deadline.moveTo(deadline.clock.nowMs() + this.#leftMs + longestMs);
    return () => {
      this.#held -= 1;
      this.touch();
      if (this.#held === 0) deadline.moveTo(deadline.clock.nowMs() + this.#leftMs);
    };
  }

  settle(outcome: Outcome<UpstreamReply>): void {
    const resolve = this.#resolve;
    if (!resolve) return;
    this.#resolve = undefined;
    this.#watch?.[Symbol.dispose]();
    this.#wait?.leave();
    this.#forget?.();
    this.#handlers.settled(this);
    resolve(outcome);
  }

  #idle(silentMs: number): void {
    const { budget, watch } = this.plan;
    const { silenceMs, questionMs } = budget;
    if (this.#held > 0) {
      this.#watch?.touch();
      this.#watch?.rearm(questionMs);
      return;
    }
    if (silenceMs === undefined || !watch) return;
    if (silentMs >= silenceMs) {
      watch.tooSilent(this, silentMs);
      return;
    }
    this.#asked = true;
    this.#watch?.rearm(silenceMs);
    watch.silent(this);
  }
}
