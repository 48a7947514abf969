/**
 * Lines of a connection, as fast as they can be worked on: short ones at once, long ones in a turn of the event loop each, in their order. Nothing is
 * read from the connection while lines wait.
 */
import type { Socket } from 'node:net';
import type { Kernel } from '../kernel/kernel.ts';
import { takeTurn } from '../kernel/take-turn.ts';
import { Lines } from './_line-splitter.ts';

/** Bytes of lines that are worked on in the turn in which they come: 0.5 ms of JSON. */
const TURN_BYTES = 64 * 1024;

interface PacedLinesParts {
  readonly kernel: Kernel;
  readonly maxBytes: number;
  /** Name of the waits. */
  readonly owner: string;
  /** Must not throw. */
  readonly each: (line: Buffer) => void;
  /** So many lines were longer than `maxBytes` and have been left out. */
  readonly tooLong: (count: number) => void;
}

export class PacedLines {
  readonly #socket: Socket;
  readonly #parts: PacedLinesParts;
  readonly #lines: Lines;
  readonly #waiting: Buffer[] = []; // bounded by: what comes in one turn, as reading is paused
  /** Bytes worked on in this turn. */
  #spent = 0;
  #isAtWork = false;

  /** Takes the connection's data from here on. */
  constructor(socket: Socket, parts: PacedLinesParts) {
    this.#socket = socket;
    this.#parts = parts;
    this.#lines = new Lines(parts.maxBytes);
    socket.on('data', (chunk) => this.#take(chunk));
  }

  #take(chunk: Buffer): void {
    const tooLong = this.#lines.take(chunk, (line) => this.#waiting.push(line));
    if (!this.#isAtWork) this.#drain();
    if (tooLong > 0) this.#parts.tooLong(tooLong);
  }

  /** Works on what this turn has time for; the rest later. */
  #drain(): void {
    for (let line = this.#waiting[0]; line; line = this.#waiting[0]) {
      if (this.#spent + line.length > TURN_BYTES) return this.#later();
      if (this.#spent === 0) this.#parts.kernel.timers.afterInput(() => this.#newTurn());
      this.#spent += line.length;
      this.#waiting.shift();
      this.#parts.each(line);
    }
  }

  #newTurn(): void {
    this.#spent = 0;
  }

  #later(): void {
    this.#isAtWork = true;
    this.#socket.pause();
    this.#parts.kernel.scope.run(`lines of ${this.#parts.owner}`, () => this.#work());
  }

  /** A turn for each long line, or for some short ones. */
  async #work(): Promise<void> {
    const { kernel, owner, each } = this.#parts;
    while (this.#waiting.length > 0 && !this.#socket.destroyed) {
      await takeTurn(kernel, owner);
      let spent = 0;
      for (let line = this.#waiting[0]; line; line = this.#waiting[0]) {
        if (spent > 0 && spent + line.length > TURN_BYTES) break;
        spent += line.length;
        this.#waiting.shift();
        each(line);
      }
    }
    this.#waiting.length = 0;
    this.#isAtWork = false;
    this.#socket.resume();
  }
}
