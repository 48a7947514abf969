/**
 * One request on its way to a server: its place, its silence watch, its one answer.
 * Promises: settles exactly once, also when the answer comes late, twice or never; a sign of life re-arms the watch; nothing of it stays in
 * the wheel or the ledger of waits afterwards.
 * Does not: send or find answers (`correlate.ts`).
 */
import { type Deadline, IdleWatch } from '../kernel/deadline.ts';
import type { Kernel } from '../kernel/kernel.ts';
import type { Outcome } from '../kernel/outcome.ts';
import type { Wait, WaitLabel } from '../kernel/waits.ts';
import type { BackChannel } from '../protocol/back-channel.ts';
import type { UpstreamReply } from './call.ts';

export interface FlightPlan {
  readonly method: string;
  readonly label: WaitLabel;
  readonly owner: string;
  readonly deadline: Deadline;
  readonly back: BackChannel;
  /** Silence after which the server is asked whether it lives; and after which the call ends. */
  readonly questionMs: number;
  readonly silenceMs: number;
}

export interface FlightEars {
  /** Silent for `questionMs`: ask. */
  silent(flight: Flight): void;
  /** Silent for `silenceMs`: end it. */
  tooSilent(flight: Flight, silentMs: number): void;
  /** Its deadline has ended. */
  ended(flight: Flight): void;
  /** It has settled: free its place. */
  settled(flight: Flight): void;
}

export class Flight {
  readonly id: number;
  readonly plan: FlightPlan;
  readonly sentMs: number;
  /** CPU time of the server when it was last looked at, ms. */
  cpuMs: number | undefined;
  /** What was sent, to send it once more when the server says that it was not executed (a forgotten session). */
  frame: Buffer | undefined;
  resent = false;
  #resolve: ((outcome: Outcome<UpstreamReply>) => void) | undefined;
  readonly #ears: FlightEars;
  readonly #watch: IdleWatch;
  readonly #wait: Wait;
  readonly #forget: (() => void) | undefined;
  #asked = false;

  constructor(
    id: number,
    plan: FlightPlan,
    kernel: Kernel,
    ears: FlightEars,
    resolve: (outcome: Outcome<UpstreamReply>) => void,
  ) {
    this.id = id;
    this.plan = plan;
    this.#ears = ears;
    this.#resolve = resolve;
    this.sentMs = kernel.clock.nowMs();
    this.#watch = new IdleWatch(Math.min(plan.questionMs, plan.silenceMs), kernel.wheel, (silentMs) =>
      this.#idle(silentMs),
    );
    this.#wait = kernel.waits.open(plan.label, plan.owner, plan.deadline);
    this.#forget = plan.deadline.onEnd(() => this.#ears.ended(this));
  }

  get over(): boolean {
    return this.#resolve === undefined;
  }

  /** Silent since, ms. */
  get silentMs(): number {
    return this.#watch.silentMs;
  }

  /** A sign of life. */
  touch(): void {
    this.#watch.touch();
    if (!this.#asked) return;
    this.#asked = false;
    this.#watch.rearm(this.plan.questionMs);
  }

  #idle(silentMs: number): void {
    if (silentMs >= this.plan.silenceMs) {
      this.#ears.tooSilent(this, silentMs);
      return;
    }
    this.#asked = true;
    this.#watch.rearm(this.plan.silenceMs);
    this.#ears.silent(this);
  }

  settle(outcome: Outcome<UpstreamReply>): void {
    const resolve = this.#resolve;
    if (!resolve) return;
    this.#resolve = undefined;
    this.#watch[Symbol.dispose]();
    this.#wait.leave();
    // Undefined when the deadline had ended before the flight began.
    this.#forget?.();
    this.#ears.settled(this);
    resolve(outcome);
  }
}
