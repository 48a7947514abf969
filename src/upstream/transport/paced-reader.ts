/**
 * Reads the data of a server in parts, one in each turn of the event loop, for every transport.
 * Guarantees: at most about a millisecond of a turn, also for many small pieces; the source is paused until all is
 * read; steps within one long message wait for a turn that no other long work gets; nothing is read after `cancel`.
 */
import { HubError } from '../../model/errors.ts';
import type { Runtime } from '../../runtime/runtime.ts';

/**
 * Result of one step. `done`: everything received is read; `long`: more of one long message; a number: more after so
 * many ms.
 */
export type ReadStep = 'more' | 'long' | 'done' | number;

/** Can be paused and resumed. */
export interface PacedSource {
  pause(): void;
  resume(): void;
}

export interface PacedReaderParts {
  readonly runtime: Pick<Runtime, 'bus' | 'clock' | 'timers' | 'turns'>;
  /** Name of the server, for people. */
  readonly server: string;
  /** Reads a part of the received data, for at most a millisecond. */
  readonly step: () => ReadStep;
  /** Called when everything received has been read. */
  readonly read: () => void;
  /**
   * Called once, at the end, when everything before it has been read. `fault`: why it ended; undefined for a normal
   * end.
   */
  readonly ended?: (fault: Error | undefined) => void;
}

const TURN_MS = 1;
/** Maximum number of steps in one turn. */
const TURN_STEPS = 512;
/** From this time on the end of the turn is awaited: for a small piece that would cost more than the piece. */
const COUNTED_MS = 0.5;
/** Pieces this far apart came in different turns. */
const GAP_MS = 5;

export class PacedReader {
  readonly #parts: PacedReaderParts;
  #source: PacedSource | undefined;
  /** The rest is read in another turn. */
  #isAsked = false;
  #isPaused = false;
  #isOver = false;
  #end: { readonly fault: Error | undefined } | undefined;
  /** Time spent in this turn, or on small pieces in some turns, ms. */
  #spentMs = 0;
  #lastMs = 0;
  #isTurnWatched = false;

  constructor(parts: PacedReaderParts) {
    this.#parts = parts;
  }

  /** True while received data waits for another turn. */
  get isBusy(): boolean {
    return this.#isAsked;
  }

  /** Reads data from `source`. Does nothing while this reader is busy. */
  run(source?: PacedSource): void {
    this.#source = source ?? this.#source;
    if (!this.#isAsked) this.#turn();
  }

  /** Marks the end of the data; `ended` is called when everything before it is read. */
  end(fault?: Error): void {
    if (this.#isOver) return;
    this.#end ??= { fault };
    this.run();
  }

  /** Stops reading and calls nothing more. */
  cancel(): void {
    this.#isOver = true;
    this.#goOn();
  }

  #turn(): void {
    const { runtime, step } = this.#parts;
    const { clock } = runtime;
    const startMs = clock.nowMs();
    if (startMs - this.#lastMs > GAP_MS) this.#spentMs = 0;
    const endMs = startMs + TURN_MS - this.#spentMs;
    for (let steps = 1; !this.#isOver; steps += 1) {
      const found = step();
      if (this.#isOver) return;
      if (found === 'done') return this.#isRead(startMs);
      if (typeof found === 'number' || steps >= TURN_STEPS || clock.nowMs() >= endMs) return this.#later(found);
    }
  }

  /** Runs a piece in another turn; what it throws is reported and affects nothing else. */
  #guarded(): void {
    const { runtime, server, ended } = this.#parts;
    try {
      this.#turn();
    } catch (fault) {
      runtime.bus.publish({ type: 'task-faulted', task: `reading of ${server}`, fault });
      this.cancel();
      ended?.(fault instanceof Error ? fault : new HubError('internal'));
    }
  }

  #isRead(startMs: number): void {
    const { runtime, read, ended } = this.#parts;
    const nowMs = runtime.clock.nowMs();
    this.#lastMs = nowMs;
    const isTurnOver = this.#spend(nowMs - startMs);
    read();
    if (this.#isOver) return;
    if (this.#end) {
      this.#isOver = true;
      ended?.(this.#end.fault);
    } else if (!isTurnOver) this.#goOn();
  }

  /** Returns true when no time is left in this turn: the next piece waits for another one. */
  #spend(ms: number): boolean {
    this.#spentMs += ms;
    if (this.#spentMs >= COUNTED_MS && !this.#isTurnWatched) {
      this.#isTurnWatched = true;
      this.#parts.runtime.timers.afterInput(() => this.#newTurn());
    }
    if (this.#spentMs < TURN_MS) return false;
    this.#pause();
    return true;
  }

  #newTurn(): void {
    this.#isTurnWatched = false;
    this.#spentMs = 0;
    if (!this.#isAsked) this.#goOn();
  }

  #later(found: ReadStep): void {
    const { turns, timers } = this.#parts.runtime;
    this.#isAsked = true;
    this.#pause();
    const next = (): void => {
      this.#isAsked = false;
      this.#spentMs = 0;
      if (!this.#isOver) this.#guarded();
    };
    if (typeof found === 'number') timers.after(found, next);
    else if (found === 'long') turns.call(next);
    else timers.afterInput(next);
  }

  #pause(): void {
    if (this.#isPaused) return;
    this.#isPaused = true;
    this.#source?.pause();
  }

  #goOn(): void {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    this.#source?.resume();
  }
}
