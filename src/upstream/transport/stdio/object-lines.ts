/**
 * Assembles a JSON object that a child writes on several lines (pretty-printed).
 * Guarantees: linear time, in steps of a millisecond; at most `maxBytes`; after each line it is known whether the
 * object is complete.
 */
import { Pieces } from '../../../protocol/pieces.ts';

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;
const OPEN_ARRAY = 0x5b;
const CLOSE_ARRAY = 0x5d;
const BLANK = 0x20;
/** Bytes that are read in one step. */
const STEP_BYTES = 128 * 1024;
const LINE_END = Buffer.from('\n');

export type LineStep = 'open' | 'complete' | 'refused';

export class ObjectLines {
  readonly #maxBytes: number;
  readonly #held: Pieces;
  #depth = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
    this.#held = new Pieces();
  }

  get isEmpty(): boolean {
    return this.#held.length === 0;
  }

  /**
   * Adds the next line. `open`: added, and more must come; `complete`: the object ends with it; `refused`: it cannot be
   * a part of such an object, and was not added. The first line must begin with a brace and leave it open.
   */
  add(line: Buffer): LineStep {
    const lexer = new Lexer(this.#depth);
    return this.#mayTake(line) && lexer.read(line, 0, line.length) ? this.#taken(line, lexer) : 'refused';
  }

  /** Does the same in steps of some milliseconds, for a long line. */
  *addSteps(line: Buffer): Generator<void, LineStep> {
    if (!this.#mayTake(line)) return 'refused';
    const lexer = new Lexer(this.#depth);
    for (let at = 0; at < line.length; at += STEP_BYTES) {
      if (!lexer.read(line, at, Math.min(line.length, at + STEP_BYTES))) return 'refused';
      yield;
    }
    return this.#taken(line, lexer);
  }

  #mayTake(line: Buffer): boolean {
    return (!this.isEmpty || line[0] === OPEN_OBJECT) && this.#held.length + line.length < this.#maxBytes;
  }

  #taken(line: Buffer, { depth, isInString }: Lexer): LineStep {
    if (isInString || (this.isEmpty && depth === 0)) return 'refused';
    this.#depth = depth;
    this.#held.add(line);
    this.#held.add(LINE_END);
    return depth === 0 ? 'complete' : 'open';
  }

  /** Returns the collected text, in steps, and starts over. */
  take(): Generator<void, Buffer> {
    this.#depth = 0;
    return this.#held.takeSteps();
  }
}

/** Counts the open braces and brackets of a line. */
class Lexer {
  depth: number;
  isInString = false;
  #isEscaped = false;
  #isOver = false;

  constructor(depth: number) {
    this.depth = depth;
  }

  /** Returns false when there is text behind the object. */
  read(line: Buffer, from: number, to: number): boolean {
    for (let at = from; at < to; at += 1) {
      const byte = line[at] as number;
      if (this.#isEscaped) this.#isEscaped = false;
      else if (this.isInString) {
        if (byte === BACKSLASH) this.#isEscaped = true;
        else if (byte === QUOTE) this.isInString = false;
      } else if (byte > BLANK) {
        if (this.#isOver) return false;
        if (byte === QUOTE) this.isInString = true;
        else if (byte === OPEN_OBJECT || byte === OPEN_ARRAY) this.depth += 1;
        else if (byte === CLOSE_OBJECT || byte === CLOSE_ARRAY) {
          this.depth -= 1;
          this.#isOver = this.depth === 0;
        }
      }
    }
    return true;
  }
}
