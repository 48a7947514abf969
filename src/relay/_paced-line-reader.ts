/**
 * Reads lines from a connection and limits the work of one event loop turn: short lines at once, each long line in its
 * own turn, in order.
 * Guarantees: the connection is paused while lines wait.
 */
import type { Socket } from 'node:net';
import type { Runtime } from '../runtime/runtime.ts';
import { takeTurn } from '../runtime/take-turn.ts';
import { LineSplitter } from './_line-splitter.ts';

/** Bytes of lines that are processed in the turn in which they arrive, about 0.5 ms of JSON. */
const TURN_BYTES = 64 * 1024;

interface PacedLineReaderParts {
  readonly runtime: Runtime;
  readonly maxBytes: () => number;
  /** Owner of the waits. */
  readonly owner: string;
  /** Must not throw. */
  readonly onLine: (line: Buffer) => void;
  /** Called with the number of lines that were longer than `maxBytes`; they are skipped. */
  readonly onOversized: (count: number) => void;
}

export class PacedLineReader {
  readonly #socket: Socket;
  readonly #parts: PacedLineReaderParts;
  readonly #lines: LineSplitter;
  readonly #waiting: Buffer[] = []; // bounded by: one chunk, as reading is paused
  /** Bytes processed in this turn. */
  #spent = 0;
  #isDeferred = false;

  /** Reads all further data of the connection. */
  constructor(socket: Socket, parts: PacedLineReaderParts) {
    this.#socket = socket;
    this.#parts = parts;
    this.#lines = new LineSplitter(parts.maxBytes);
    socket.on('data', (chunk) => this.#receive(chunk));
  }

  #receive(chunk: Buffer): void {
    const tooLong = this.#lines.push(chunk, (line) => this.#waiting.push(line));
    if (!this.#isDeferred) this.#process();
    if (tooLong > 0) this.#parts.onOversized(tooLong);
  }

  /** Processes what fits in this turn, and defers the rest. */
  #process(): void {
    for (let line = this.#waiting[0]; line; line = this.#waiting[0]) {
      if (this.#spent + line.length > TURN_BYTES) return this.#defer();
      if (this.#spent === 0) this.#parts.runtime.timers.afterInput(() => this.#newTurn());
      this.#spent += line.length;
      this.#waiting.shift();
      this.#parts.onLine(line);
    }
  }

  #newTurn(): void {
    this.#spent = 0;
  }

  #defer(): void {
    this.#isDeferred = true;
    this.#socket.pause();
    this.#parts.runtime.scope.run(`lines of ${this.#parts.owner}`, () => this.#processDeferred());
  }

  /** Processes one long line, or several short ones, in each turn. */
  async #processDeferred(): Promise<void> {
    const { runtime, owner, onLine } = this.#parts;
    while (this.#waiting.length > 0 && !this.#socket.destroyed) {
      await takeTurn(runtime, owner);
      let spent = 0;
      for (let line = this.#waiting[0]; line; line = this.#waiting[0]) {
        if (spent > 0 && spent + line.length > TURN_BYTES) break;
        spent += line.length;
        this.#waiting.shift();
        onLine(line);
      }
    }
    this.#waiting.length = 0;
    this.#isDeferred = false;
    this.#socket.resume();
  }
}
