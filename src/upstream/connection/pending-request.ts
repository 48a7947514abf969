/**
 * One request on its way to a server: its place, its silence watch, its one answer.
 * Promises: settles exactly once, also when the answer comes late, twice or never; a sign of life re-arms the watch; nothing of it stays in
 * the wheel or the ledger of waits afterwards.
 * Does not: send or find answers (`correlator.ts`).
 */

import type { Outcome } from '../../model/outcome.ts';
import type { BackChannel } from '../../protocol/back-channel.ts';
import { type Deadline, IdleWatch } from '../../runtime/deadline.ts';
import type { Runtime } from '../../runtime/runtime.ts';
import type { Wait, WaitLabel } from '../../runtime/waits.ts';
import type { UpstreamReply } from '../call.ts';

export interface RequestOptions {
  readonly method: string;
  readonly label: WaitLabel;
  readonly owner: string;
  /** The key whose call it is; absent = the hub's own. */
  readonly share?: string;
  readonly deadline: Deadline;
  /** The setting that allows more when the deadline's time is up. */
  readonly setting: string;
  readonly back: BackChannel;
  /** Silence after which the server is asked whether it lives, and after which the request ends; undefined = the deadline alone decides. */
  readonly silence: { readonly questionMs: number; readonly silenceMs: number } | undefined;
}

export interface PendingRequestHandlers {
  /** Silent for a while: ask. */
  silent(pending: PendingRequest): void;
  /** Silent for `silenceMs`: end it, or `touch` it when the server has shown life in another way. */
  tooSilent(pending: PendingRequest, silentMs: number): void;
  /** Its deadline has ended. */
  ended(pending: PendingRequest): void;
  /** It has settled: free its place. */
  settled(pending: PendingRequest): void;
}

export class PendingRequest {
  readonly id: number;
  readonly plan: RequestOptions;
  readonly sentMs: number;
  /** CPU time of the server when it was last looked at, ms. */
  cpuMs: number | undefined;
  /** Its answer has come. */
  answered = false;
  /** It was sent once more after the server had forgotten the session. */
  resent = false;
  #resolve: ((outcome: Outcome<UpstreamReply>) => void) | undefined;
  readonly #handlers: PendingRequestHandlers;
  readonly #questionMs: number;
  #wait: Wait | undefined;
  #watch: IdleWatch | undefined;
  #forget: (() => void) | undefined;
  #asked = false;
  /** Questions to the user that are open, and what was left of the total when the first one came. */
  #held = 0;
  #leftMs = 0;

  constructor(id: number, plan: RequestOptions, handlers: PendingRequestHandlers, nowMs: number) {
    this.id = id;
    this.plan = plan;
    this.sentMs = nowMs;
    this.#handlers = handlers;
    const { silence } = plan;
    // The question must be out for a while before the cut, however short the silence that is allowed.
    this.#questionMs = silence ? Math.min(silence.questionMs, silence.silenceMs / 2) : 0;
  }

  /** Enters the ledger and arms the watch. Throws HubError `overloaded` when the ledger is full; nothing is held then. */
  begin(runtime: Runtime, resolve: (outcome: Outcome<UpstreamReply>) => void): void {
    const { label, owner, deadline, silence } = this.plan;
    this.#wait = runtime.waits.open(label, owner, deadline, this.sentMs);
    this.#resolve = resolve;
    if (silence)
      this.#watch = new IdleWatch(this.#questionMs, runtime.wheel, (silentMs) => this.#idle(silentMs), this.sentMs);
    this.#forget = deadline.onEnd(() => this.#handlers.ended(this));
  }

  get over(): boolean {
    return this.#resolve === undefined;
  }

  /** A sign of life. `nowMs`: where it is known. */
  touch(nowMs?: number): void {
    this.#watch?.touch(nowMs);
    if (!this.#asked) return;
    this.#asked = false;
    this.#watch?.rearm(this.#questionMs);
  }

  /**
   * The user is being asked, for `longestMs` at most: neither silence nor the total counts until the answer, which the caller tells by calling
   * what this returns, once.
   */
  hold(longestMs: number): () => void {
    const { deadline } = this.plan;
    if (this.#held === 0) this.#leftMs = deadline.remainingMs();
    this.#held += 1;
    deadline.extendTo(deadline.clock.nowMs() + this.#leftMs + longestMs);
    return () => {
      this.#held -= 1;
      this.touch();
      if (this.#held === 0) deadline.extendTo(deadline.clock.nowMs() + this.#leftMs);
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
    const { silence } = this.plan;
    if (this.#held > 0) {
      this.#watch?.touch();
      this.#watch?.rearm(this.#questionMs);
      return;
    }
    if (!silence || silentMs >= silence.silenceMs) {
      this.#handlers.tooSilent(this, silentMs);
      return;
    }
    this.#asked = true;
    this.#watch?.rearm(silence.silenceMs);
    this.#handlers.silent(this);
  }
}
