/**
 * Spreads the start of requests over turns of the event loop, so that timers, heartbeats and new connections get theirs however many sockets
 * are ready.
 * Guarantees: requests are started for at most twice `turnMs` in one turn, at least one in each; the others wait, one of each owner in turn; after
 * `readTurnMs` of one turn other connections are not read before the next turns; late timers run before a request is started; questions for health and heartbeat go first; a request whose client has gone is dropped.
 */
import type { IncomingMessage } from 'node:http';
import type { Limits } from '../config/limits.ts';
import { Refusal } from '../model/outcome.ts';
import { CappedCount } from '../runtime/capped.ts';
import type { Runtime } from '../runtime/runtime.ts';
import type { Arrived } from './connection.ts';
import { guardCallback } from './guarded-http.ts';
import { writeRefusal } from './http-answer.ts';
import type { ReadPacing } from './read-pacing.ts';

export interface PacingParts {
  readonly runtime: Runtime;
  readonly limits: Pick<Limits, 'connections' | 'turnMs' | 'readTurnMs'>;
  /** Says who a request that has to wait is counted for. */
  readonly keys: { shareOf(authorization: string | undefined, address: string): string };
}

/** Requests of one owner that wait; those before `at` have been started. */
interface Lane {
  readonly owner: string;
  readonly starts: Arrived[]; // bounded by: #waiting
  at: number;
}

/** A request that has been started, and in which turn. */
interface Paced extends IncomingMessage {
  pacing?: Pacing | undefined;
  startedIn?: number;
}

/**
 * Starts after which the end of the turn is looked for. A callback after the input costs one more look for input (5 µs), so that it is not
 * asked for more often than once in these, nor in `turnMs`.
 */
const UNMEASURED_STARTS = 8;
/** Started in one turn at most; between two of them the runtime runs what the one before has scheduled. */
const STARTS_A_TURN = 64;
/** Started entries of a lane are removed in bulk. */
const COMPACT_AT = 256;
/** Answered from memory in microseconds; balancers and the supervisor judge the process by them. */
const URGENT_PATHS: ReadonlySet<string> = new Set([
  ...['/health', '/health/live', '/health/ready', '/health/startup', '/healthz', '/livez', '/readyz', '/startupz'],
  ...['/beat', '/probe'],
]);
/** Urgent requests of one turn that do not wait; they need no key, so more of them wait, one of each sender in turn. */
const URGENT_A_TURN = 16;

export class Pacing {
  readonly #runtime: Runtime;
  readonly #limits: Pick<Limits, 'turnMs' | 'readTurnMs'>;
  readonly #keys: PacingParts['keys'];
  readonly #waiting: CappedCount;
  /** In order of their turn. */
  readonly #sessionConnections = new Map<string, Lane>(); // bounded by: #waiting
  #reads: ReadPacing | undefined;
  #turn = 0;
  /** The last turn in which connections were held. */
  #heldIn = -1;
  #turnStartMs = 0;
  #urgent = 0;
  /** Since the end of a turn was last seen. */
  #started = 0;
  /** Callbacks that are still to come after the input of this turn; 0 = its end is not looked for. */
  #scheduled = 0;
  /** The callbacks of this turn have begun. */
  #isAfterInput = false;
  /** Requests that the callbacks of this turn have started. */
  #startedAfterInput = 0;
  /** The turn whose time has been seen to be over. */
  #endedTurn = -1;
  readonly #next = (): void => this.#startNext();

  constructor({ runtime, limits, keys }: PacingParts) {
    this.#runtime = runtime;
    this.#limits = limits;
    this.#keys = keys;
    // One request of a connection waits at most: to be started, or to go on with its body.
    this.#waiting = new CappedCount('downstream.waiting', 2 * limits.connections, 'refuse', runtime.ceilings);
  }

  /** Requests that wait for their turn. */
  get waiting(): number {
    return this.#waiting.size;
  }

  /** Holds these connections when requests arrive faster than they are started. */
  paceReads(reads: ReadPacing): void {
    this.#reads = reads;
  }

  /** Starts a request now, or in its turn. */
  start(arrived: Arrived): void {
    if (URGENT_PATHS.has(arrived.request.url ?? '')) this.#startUrgent(arrived);
    else this.startInTurn(arrived);
  }

  /** `owner`: who it is counted for; absent = the sender, by its key or address. */
  startInTurn(arrived: Arrived, owner?: string): void {
    const nowMs = this.#runtime.clock.nowMs();
    this.#runtime.timers.runLate(nowMs);
    if (this.#scheduled === 0) this.#count(nowMs);
    else if (this.#waiting.size > 0 || nowMs - this.#turnStartMs >= this.#limits.turnMs) {
      if (nowMs - this.#turnStartMs >= this.#limits.readTurnMs) this.#holdReads(nowMs, false);
      return this.#enqueue(arrived, owner ?? this.#ownerOf(arrived));
    }
    this.#begin(arrived);
  }

  /** A connection has ended: thousands that end together are spread over turns too. */
  noteEnd(): void {
    const nowMs = this.#runtime.clock.nowMs();
    this.#runtime.timers.runLate(nowMs);
    if (this.#scheduled === 0) this.#count(nowMs);
    else if (nowMs - this.#turnStartMs >= this.#limits.readTurnMs) this.#holdReads(nowMs, true);
  }

  wasStartedInThisTurn(request: Paced): boolean {
    return request.startedIn === this.#turn;
  }

  #begin({ request, response, handle }: Arrived): void {
    const paced: Paced = request;
    paced.pacing = this;
    paced.startedIn = this.#turn;
    handle(request, response);
  }

  #startUrgent(arrived: Arrived): void {
    if (this.#urgent >= URGENT_A_TURN) return this.startInTurn(arrived, `urgent ${this.#ownerOf(arrived)}`);
    const nowMs = this.#runtime.clock.nowMs();
    this.#runtime.timers.runLate(nowMs);
    if (this.#scheduled === 0) this.#count(nowMs);
    this.#urgent += 1;
    this.#begin(arrived);
  }

  #ownerOf({ request: { headers, socket } }: Arrived): string {
    return this.#keys.shareOf(headers.authorization, socket.remoteAddress ?? '');
  }

  #holdReads(nowMs: number, alsoBusy: boolean): void {
    if (this.#heldIn === this.#turn) return;
    this.#heldIn = this.#turn;
    this.#reads?.hold(nowMs, alsoBusy);
  }

  /** Counts a start; when there were many for longer than a turn may last, the rest of this one is measured. */
  #count(nowMs: number): void {
    this.#started += 1;
    if (this.#started <= UNMEASURED_STARTS || nowMs - this.#turnStartMs < this.#limits.turnMs) return;
    this.#beginTurn(nowMs);
    this.#schedule(1);
  }

  #beginTurn(nowMs: number): void {
    this.#started = 0;
    this.#urgent = 0;
    this.#turn += 1;
    this.#turnStartMs = nowMs;
  }

  #schedule(callbacks: number): void {
    this.#scheduled = callbacks;
    for (let count = 0; count < callbacks; count += 1) this.#runtime.timers.afterInput(this.#next);
  }

  #enqueue(arrived: Arrived, owner: string): void {
    if (!this.#waiting.take())
      return writeRefusal(arrived.response, new Refusal('overloaded'), undefined, arrived.request);
    const sessionConnection = this.#sessionConnections.get(owner);
    if (sessionConnection) sessionConnection.starts.push(arrived);
    else this.#sessionConnections.set(owner, { owner, starts: [arrived], at: 0 });
  }

  /** Runs after the input of a turn, once for each request that may be started then. */
  #startNext(): void {
    const isFirst = !this.#isAfterInput;
    if (isFirst) {
      this.#isAfterInput = true;
      this.#startedAfterInput = 0;
      this.#beginTurn(this.#runtime.clock.nowMs());
    }
    this.#scheduled -= 1;
    const arrived = isFirst || this.#hasTime() ? this.#dequeue() : undefined;
    if (arrived) this.#startedAfterInput += 1;
    if (this.#scheduled === 0) {
      this.#isAfterInput = false;
      this.#reads?.release(this.#runtime.clock.nowMs());
      const isReading = this.#reads !== undefined && this.#reads.held > 0;
      // A callback that finds no time left costs as well: so about as many as there was time for in this turn.
      const starts = Math.min(this.#waiting.size, STARTS_A_TURN, 2 * this.#startedAfterInput + 2);
      this.#schedule(Math.max(starts, isReading ? 1 : 0));
    }
    if (arrived) guardCallback(this.#runtime, arrived.response, () => this.#begin(arrived))();
  }

  /** The clock is not read again for a turn whose time is over. */
  #hasTime(): boolean {
    if (this.#endedTurn === this.#turn) return false;
    if (this.#runtime.clock.nowMs() - this.#turnStartMs < this.#limits.turnMs) return true;
    this.#endedTurn = this.#turn;
    return false;
  }

  /** Takes the next request of the owner whose turn it is. */
  #dequeue(): Arrived | undefined {
    for (const [owner, sessionConnection] of this.#sessionConnections) {
      const arrived = sessionConnection.starts[sessionConnection.at];
      sessionConnection.at += 1;
      if (sessionConnection.at === COMPACT_AT) {
        sessionConnection.starts.splice(0, sessionConnection.at);
        sessionConnection.at = 0;
      }
      this.#sessionConnections.delete(owner);
      if (sessionConnection.at < sessionConnection.starts.length)
        this.#sessionConnections.set(owner, sessionConnection);
      this.#waiting.give();
      if (arrived && !arrived.request.socket.destroyed) return arrived;
    }
    return undefined;
  }
}

/** Whether a started request may go on at once: in the turn in which it was started. */
export function mayGoOn(request: IncomingMessage): boolean {
  const { pacing } = request as Paced;
  return pacing === undefined || pacing.wasStartedInThisTurn(request);
}

/** Goes on in its turn with a started request whose body has come later. */
export function resumeInTurn(arrived: Arrived): void {
  (arrived.request as Paced).pacing?.startInTurn(arrived);
}
