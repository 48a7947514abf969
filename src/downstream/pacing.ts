/**
 * Spreads request starts over turns of the event loop, so that timers, heartbeats and new connections are handled.
 * Guarantees: starts take at most twice `turnMs` of a turn, at least one each turn; others wait, owners in turn; after
 * `readTurnMs` other connections are read in later turns; late timers run first; health and heartbeat requests have
 * priority; those of disconnected clients are dropped.
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
  /** Returns the share that a waiting request counts for. */
  readonly keys: { shareOf(authorization: string | undefined, address: string): string };
}

/** Waiting requests of one owner; those before `at` have been started. */
interface OwnerQueue {
  readonly owner: string;
  readonly starts: Arrived[]; // bounded by: #waiting
  at: number;
}

/** A request that has been started, with its turn. */
interface Paced extends IncomingMessage {
  pacing?: Pacing | undefined;
  startedIn?: number;
}

/**
 * Number of starts after which the end of the turn is detected. A callback after the input costs one more poll (5 µs),
 * so it is requested at most once in this many starts, and once in `turnMs`.
 */
const UNMEASURED_STARTS = 8;
/** Most starts in one turn; between two of them Node runs what the previous one has scheduled. */
const STARTS_A_TURN = 64;
/** Started entries of a queue are removed in bulk. */
const COMPACT_AT = 256;
/** Answered from memory in microseconds; load balancers and the supervisor use them to judge the process. */
const URGENT_PATHS: ReadonlySet<string> = new Set([
  ...['/health', '/health/live', '/health/ready', '/health/startup', '/healthz', '/livez', '/readyz', '/startupz'],
  ...['/beat', '/probe'],
]);
/**
 * Urgent requests of one turn that do not wait; they need no key, so that further ones wait, and senders take turns.
 */
const URGENT_A_TURN = 16;

export class Pacing {
  readonly #runtime: Runtime;
  readonly #limits: Pick<Limits, 'turnMs' | 'readTurnMs'>;
  readonly #keys: PacingParts['keys'];
  readonly #waiting: CappedCount;
  /** In the order of turns. */
  readonly #queues = new Map<string, OwnerQueue>(); // bounded by: #waiting
  #reads: ReadPacing | undefined;
  #turn = 0;
  /** The last turn in which connections were held. */
  #heldIn = -1;
  #turnStartMs = 0;
  #urgent = 0;
  /** Starts since the end of a turn was last detected. */
  #started = 0;
  /** Callbacks that will run after the input of this turn; 0 when its end is not detected. */
  #scheduled = 0;
  /** The callbacks of this turn have begun. */
  #isAfterInput = false;
  /** Requests that the callbacks of this turn have started. */
  #startedAfterInput = 0;
  /** The turn whose time is known to be over. */
  #endedTurn = -1;
  readonly #next = (): void => this.#startNext();

  constructor({ runtime, limits, keys }: PacingParts) {
    this.#runtime = runtime;
    this.#limits = limits;
    this.#keys = keys;
    // At most one request of a connection waits: to be started, or to continue with its body.
    this.#waiting = new CappedCount('downstream.waiting', () => 2 * limits.connections, 'refuse', runtime.ceilings);
  }

  /** Number of requests that wait for their turn. */
  get waiting(): number {
    return this.#waiting.size;
  }

  /** Lets `reads` hold connections while requests arrive faster than they are started. */
  paceReads(reads: ReadPacing): void {
    this.#reads = reads;
  }

  /** Starts a request now, or in its turn. */
  start(arrived: Arrived): void {
    if (URGENT_PATHS.has(arrived.request.url ?? '')) this.#startUrgent(arrived);
    else this.startInTurn(arrived);
  }

  /** `owner`: the share it counts for; absent for the sender, by its key or address. */
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

  /** Records the end of a connection: thousands that end together are spread over turns too. */
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

  /** Counts a start; after many in more than one turn's time, the rest of this turn is measured. */
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
    const queue = this.#queues.get(owner);
    if (queue) queue.starts.push(arrived);
    else this.#queues.set(owner, { owner, starts: [arrived], at: 0 });
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
      // A callback without time left also has a cost: so about as many as there was time for in this turn.
      const starts = Math.min(this.#waiting.size, STARTS_A_TURN, 2 * this.#startedAfterInput + 2);
      this.#schedule(Math.max(starts, isReading ? 1 : 0));
    }
    if (arrived) guardCallback(this.#runtime, arrived.response, () => this.#begin(arrived))();
  }

  /** Tells whether time is left; does not read the clock again in a turn whose time is over. */
  #hasTime(): boolean {
    if (this.#endedTurn === this.#turn) return false;
    if (this.#runtime.clock.nowMs() - this.#turnStartMs < this.#limits.turnMs) return true;
    this.#endedTurn = this.#turn;
    return false;
  }

  /** Takes the next request of the owner whose turn it is. */
  #dequeue(): Arrived | undefined {
    for (const [owner, queue] of this.#queues) {
      const arrived = queue.starts[queue.at];
      queue.at += 1;
      if (queue.at === COMPACT_AT) {
        queue.starts.splice(0, queue.at);
        queue.at = 0;
      }
      this.#queues.delete(owner);
      if (queue.at < queue.starts.length) this.#queues.set(owner, queue);
      this.#waiting.give();
      if (arrived && !arrived.request.socket.destroyed) return arrived;
    }
    return undefined;
  }
}

/** Tells whether a started request may continue at once: in the turn in which it was started. */
export function mayGoOn(request: IncomingMessage): boolean {
  const { pacing } = request as Paced;
  return pacing === undefined || pacing.wasStartedInThisTurn(request);
}

/** Continues a started request in its turn, when its body arrived later. */
export function resumeInTurn(arrived: Arrived): void {
  (arrived.request as Paced).pacing?.startInTurn(arrived);
}
