/**
 * The stage of a link, since when, what outlasts the stages, and the callers that wait for it to settle.
 * `connection-loop.ts` decides.
 * Guarantees: `settled` resolves at every end of connecting, whether it succeeded or failed; no stage follows
 * `stopped`.
 */

import type { HubError } from '../../model/errors.ts';
import type { LinkPhase, LinkState } from '../../model/events.ts';
import type { InitializeResult } from '../../protocol/era-2025/initialize.ts';
import type { Clock } from '../../runtime/clock.ts';
import type { Deadline } from '../../runtime/deadline.ts';
import type { Connection } from '../connection/connection.ts';
import type { ConnectionWatch } from './connection-watch.ts';
import { connectionOf, type LinkStage, stageFault, stagePhase, visibleState } from './link-stage.ts';
import type { StartTurn } from './start-turn.ts';

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
  #stage: LinkStage = { kind: 'idle' };
  #changedMs: number;
  #settled = Promise.withResolvers<void>();
  #isSettled = false;
  #restarts = 0;
  #deaths = 0;
  #hello: InitializeResult | undefined;
  #raisedMs: number | undefined;
  #lastTail: readonly string[] = []; // bounded by: stderrTailBytes

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#changedMs = clock.nowMs();
  }

  get stage(): LinkStage {
    return this.#stage;
  }

  get state(): LinkState {
    return visibleState(this.#stage);
  }

  /** The connection, which may be closing; undefined when there is none. */
  get connection(): Connection | undefined {
    return connectionOf(this.#stage);
  }

  /** The last initialize result of the server, also of an earlier connection; undefined before the first one. */
  get hello(): InitializeResult | undefined {
    return this.#hello;
  }

  /** Silence limit that was raised because the server needs more, ms; undefined when it was not. */
  get raisedMs(): number | undefined {
    return this.#raisedMs;
  }

  /** The last lines of stderr of the connection, or of the one before it while this one has written none. */
  get stderrTail(): readonly string[] {
    const tail = this.connection?.transport.stderrTail() ?? [];
    return tail.length > 0 ? tail : this.#lastTail;
  }

  /** True until the first attempt to connect has ended. */
  get isBeginning(): boolean {
    const { state } = this;
    return this.#restarts === 0 && (state === 'idle' || state === 'connecting');
  }

  /** Settles when the next attempt to connect has succeeded or failed, or the link is stopped. */
  get settled(): Promise<void> {
    return this.#settled.promise;
  }

  get view(): LinkView {
    const nowMs = this.#clock.nowMs();
    const stage = this.#stage;
    return {
      state: visibleState(stage),
      phase: stagePhase(stage),
      fault: stageFault(stage),
      sinceMs: nowMs - this.#changedMs,
      retryMs: stage.kind === 'backing-off' ? Math.max(0, stage.retryAtMs - nowMs) : undefined,
      restarts: this.#restarts,
      deaths: this.#deaths,
      hello: this.#hello,
      raisedMs: this.#raisedMs,
    };
  }

  /** A connection is about to be created. */
  begin(phase?: LinkPhase): void {
    this.#enter({ kind: 'starting', phase, lastFault: stageFault(this.#stage) });
  }

  /** The connection opens. */
  open(connection: Connection, turn: StartTurn): void {
    const stage = this.#stage;
    this.#enter({ kind: 'opening', connection, turn, phase: stagePhase(stage), lastFault: stageFault(stage) });
  }

  /** Enters the next phase of connecting. */
  step(phase: LinkPhase): void {
    if (this.#stage.kind === 'opening') this.#stage = { ...this.#stage, phase };
  }

  /** The connection closes, because another worker holds the session. */
  leaveToHolder(connection: Connection): void {
    this.#enter({ kind: 'left-to-holder', connection, lastFault: stageFault(this.#stage) });
  }

  becomeReady(connection: Connection, hello: InitializeResult): void {
    this.#hello = hello;
    this.#enter({ kind: 'ready', connection, hello, watch: undefined });
  }

  /** Sets what watches the ready connection; undefined when that has ended. */
  watch(watch: ConnectionWatch | undefined): void {
    if (this.#stage.kind === 'ready') this.#stage = { ...this.#stage, watch };
  }

  /** The connection was initialized again. */
  renewed(hello: InitializeResult): void {
    this.#hello = hello;
    if (this.#stage.kind === 'ready') this.#stage = { ...this.#stage, hello };
  }

  /** The connection was lost and closes. */
  end(connection: Connection, fault: HubError, next: 'waiting' | 'asleep'): void {
    if (this.#stage.kind === 'stopped') this.#stage = { ...this.#stage, connection, fault };
    else this.#enter({ kind: 'ending', connection, fault, next });
  }

  /** The connection has closed; `tail`: its last lines of stderr. */
  closed(tail: readonly string[]): void {
    this.#lastTail = tail;
    if (this.#stage.kind === 'stopped') this.#stage = { ...this.#stage, connection: undefined };
  }

  /**
   * Waits `retryMs` for the next attempt. The connection that has ended is the last of `deaths` in a row that ended
   * early.
   */
  backOff(fault: HubError, retryMs: number, deaths: number): void {
    this.#restarts += 1;
    this.#deaths = deaths;
    this.#enter({ kind: 'backing-off', fault, retryAtMs: this.#clock.nowMs() + retryMs });
  }

  /** Waits for the next call. */
  sleep(fault: HubError): void {
    this.#enter({ kind: 'asleep', fault });
  }

  /** Stops for good; the connection has until then to close. */
  stop(until: Deadline): void {
    const stage = this.#stage;
    this.#enter({ kind: 'stopped', connection: connectionOf(stage), fault: stageFault(stage), until });
  }

  /** Raises the silence limit, which was too short; returns false when it is as long already. */
  raise(silenceMs: number): boolean {
    if ((this.#raisedMs ?? 0) >= silenceMs) return false;
    this.#raisedMs = silenceMs;
    return true;
  }

  #enter(stage: LinkStage): void {
    if (this.#stage.kind === 'stopped') return;
    const was = visibleState(this.#stage);
    const now = visibleState(stage);
    this.#stage = stage;
    if (was !== now) this.#changedMs = this.#clock.nowMs();
    const isFinal = now === 'ready' || now === 'stopped';
    if (isFinal || (was === 'connecting' && now !== 'connecting')) {
      this.#settled.resolve();
      this.#isSettled = true;
    }
    if (!this.#isSettled || isFinal) return;
    this.#settled = Promise.withResolvers<void>();
    this.#isSettled = false;
  }
}
