/**
 * Splits a byte stream into lines, one message each (stdio). The reader pulls lines, so it decides how many it takes
 * per turn of the event loop.
 * Guarantees: linear time for any chunk sizes (a 9 MB line in 64 KiB pieces is copied once); a line within one chunk is
 * not copied; no line longer than `maxBytes` is kept or returned.
 */
import { atOnce } from '../runtime/take-turn.ts';
import { Pieces } from './pieces.ts';

/** A longer line is assembled in steps. */
const LARGE_BYTES = 256 * 1024;
const NEWLINE = 0x0a;
const RETURN = 0x0d;

export class LineSplitter {
  readonly #maxBytes: number;
  #chunks: Buffer[] = []; // bounded by: what was pushed and not yet pulled; the reader pushes only when it has pulled
  /** First byte of the first chunk that was not read yet. */
  #at = 0;
  #heldBytes = 0;
  readonly #unfinished: Pieces;
  #overlong = false;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
    this.#unfinished = new Pieces();
  }

  /** Bytes that were not pulled yet, including an unfinished line. */
  get heldBytes(): number {
    return this.#heldBytes;
  }

  /** True after a line exceeded the limit: no more lines are returned, and the stream cannot be used further. */
  get overlong(): boolean {
    return this.#overlong;
  }

  /** Adds a chunk, which must not be modified afterwards. */
  push(chunk: Buffer): void {
    if (chunk.length === 0 || this.#overlong) return;
    this.#chunks.push(chunk);
    this.#heldBytes += chunk.length;
  }

  /**
   * Returns the next complete line without its line end, or undefined when there is none yet. Empty lines are skipped.
   */
  next(): Buffer | undefined {
    const line = this.nextLine();
    return line === undefined || Buffer.isBuffer(line) ? line : atOnce(line);
  }

  /** Works like `next`; a line of 256 KiB or more that came in pieces is assembled in steps of a few milliseconds. */
  nextLine(): Buffer | Generator<void, Buffer> | undefined {
    for (let chunk = this.#chunks[0]; chunk !== undefined; chunk = this.#chunks[0]) {
      if (this.#unfinished.length === 0) this.#skipEmptyLines(chunk);
      const newline = chunk.indexOf(NEWLINE, this.#at);
      const piece = chunk.subarray(this.#at, newline < 0 ? chunk.length : newline);
      if (this.#unfinished.length + piece.length > this.#maxBytes) return this.#giveUp();
      this.#at = newline < 0 ? chunk.length : newline + 1;
      if (this.#at === chunk.length) {
        this.#chunks.shift();
        this.#at = 0;
      }
      if (newline < 0) {
        this.#unfinished.add(piece);
        continue;
      }
      const length = this.#unfinished.length + piece.length;
      this.#heldBytes -= length + 1;
      if (length >= LARGE_BYTES) return textSteps(this.#unfinished.takeSteps(piece));
      const text = textOf(this.#unfinished.take(piece));
      if (text.length > 0) return text;
    }
    return undefined;
  }

  /**
   * Returns the unfinished line, as if its line end had arrived, when `isWhole` returns true; works in steps. Call only
   * after `next` returned undefined, and do not push before the last step.
   */
  *cutSteps(isWhole: (text: Buffer) => Generator<void, boolean>): Generator<void, Buffer | undefined> {
    if (this.#overlong || this.#unfinished.length === 0) return undefined;
    const text = yield* this.#unfinished.takeSteps();
    if (yield* isWhole(text)) {
      this.#heldBytes -= text.length;
      return text;
    }
    this.#unfinished.add(text);
    return undefined;
  }

  /** Skips empty lines in a loop, because there may be thousands. */
  #skipEmptyLines(chunk: Buffer): void {
    let at = this.#at;
    for (;;) {
      if (chunk[at] === NEWLINE) at += 1;
      else if (chunk[at] === RETURN && chunk[at + 1] === NEWLINE) at += 2;
      else break;
    }
    this.#heldBytes -= at - this.#at;
    this.#at = at;
  }

  #giveUp(): undefined {
    this.#overlong = true;
    this.#chunks = [];
    this.#unfinished.drop();
    this.#heldBytes = 0;
    return undefined;
  }
}

function textOf(line: Buffer): Buffer {
  return line[line.length - 1] === RETURN ? line.subarray(0, -1) : line;
}

function* textSteps(line: Generator<void, Buffer>): Generator<void, Buffer> {
  return textOf(yield* line);
}
