/**
 * Reads what a server sends a part in each turn of the event loop, whatever it is and whichever transport it comes by.
 * Guarantees: a turn takes about a millisecond of it at most, also when it comes in many pieces; its source is paused until all is read; steps inside one long
 * message wait for a turn that no other long work of the worker gets; nothing is read after `cancel`.
 */
import { HubError } from '../../model/errors.ts';
import type { Runtime } from '../../runtime/runtime.ts';

/** What comes of one step. `done` = all that has come is read; `long` = more of one long message is to be read; a number = more in so many ms. */
export type ReadStep = 'more' | 'long' | 'done' | number;

/** Stops and goes on sending pieces. */
export interface PacedSource {
  pause(): void;
  resume(): void;
}

export interface PacedReaderParts {
  readonly runtime: Pick<Runtime, 'bus' | 'clock' | 'timers' | 'turns'>;
  /** Name of the server, for people. */
  readonly server: string;
  /** Reads a little of what has come, at most a millisecond long. */
  readonly step: () => ReadStep;
  /** All that has come is read. */
  readonly read: () => void;
  /** The end has come, and all before it is read. Once. `fault` = why it ended; undefined = as it should. */
  readonly ended?: (fault: Error | undefined) => void;
}

const TURN_MS = 1;
/** Steps of one turn. */
const TURN_STEPS = 512;
/** From here on the end of the turn is waited for: to do so for each small piece would cost more than the piece. */
const COUNTED_MS = 0.5;
/** Pieces so far apart came in different turns. */
const GAP_MS = 5;

export class PacedReader {
  readonly #parts: PacedReaderParts;
  #source: PacedSource | undefined;
  /** The rest is read in another turn. */
  #isAsked = false;
  #isPaused = false;
  #isOver = false;
  #end: { readonly fault: Error | undefined } | undefined;
  /** Of this turn, or of small pieces in some turns, ms. */
  #spentMs = 0;
  #lastMs = 0;
  #isTurnWatched = false;

  constructor(parts: PacedReaderParts) {
    this.#parts = parts;
  }

  /** True while the rest of what has come waits for another turn. */
  get isBusy(): boolean {
    return this.#isAsked;
  }

  /** Something has come from `source`. While this reader is busy nothing is done. */
  run(source?: PacedSource): void {
    this.#source = source ?? this.#source;
    if (!this.#isAsked) this.#turn();
  }

  /** Nothing more comes; `ended` is called when all before is read. */
  end(fault?: Error): void {
    if (this.#isOver) return;
    this.#end ??= { fault };
    this.run();
  }

  /** Reads nothing more, and calls nothing. */
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

  /** What a piece of another turn throws reaches nobody else. */
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

  /** True when this turn has no time left: what comes next waits for another one. */
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
