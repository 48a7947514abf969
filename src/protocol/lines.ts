/**
 * Cuts a byte stream into newline-framed messages (stdio).
 * Promises: linear time whatever the chunks are (a 9 MB line in 64 KiB pieces is copied once); a line in one chunk is not copied at all;
 * no line longer than `maxBytes` is held or given out. Pull interface, so that the reader decides how many lines it takes in one turn.
 */
import { Pieces } from './pieces.ts';

const NEWLINE = 0x0a;
const RETURN = 0x0d;

export class LineSplitter {
  readonly #maxBytes: number;
  #chunks: Buffer[] = []; // bounded by: what was pushed and not yet pulled; the reader pushes only when it has pulled
  /** First byte of the first chunk that has not been looked at. */
  #at = 0;
  #heldBytes = 0;
  readonly #unfinished: Pieces;
  #overlong = false;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
    this.#unfinished = new Pieces(maxBytes);
  }

  /** Bytes that wait to be pulled or finished. */
  get heldBytes(): number {
    return this.#heldBytes;
  }

  /** True once a line is longer than allowed: nothing more comes, the stream cannot be saved. */
  get overlong(): boolean {
    return this.#overlong;
  }

  /** The chunk must not be written into afterwards. */
  push(chunk: Buffer): void {
    if (chunk.length === 0 || this.#overlong) return;
    this.#chunks.push(chunk);
    this.#heldBytes += chunk.length;
  }

  /** The next whole line without its line end; empty lines are left out. Undefined = none yet. */
  next(): Buffer | undefined {
    for (let chunk = this.#chunks[0]; chunk !== undefined; chunk = this.#chunks[0]) {
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
      const line = this.#unfinished.take(piece);
      this.#heldBytes -= line.length + 1;
      const text = line[line.length - 1] === RETURN ? line.subarray(0, -1) : line;
      if (text.length > 0) return text;
    }
    return undefined;
  }

  /** Returns the unfinished line, as if it had its line end, when `isWhole` says so. To be called only after `next` has returned undefined. */
  cut(isWhole: (text: Buffer) => boolean): Buffer | undefined {
    if (this.#overlong || this.#unfinished.length === 0) return undefined;
    const text = this.#unfinished.take();
    if (isWhole(text)) {
      this.#heldBytes -= text.length;
      return text;
    }
    this.#unfinished.add(text);
    return undefined;
  }

  #giveUp(): undefined {
    this.#overlong = true;
    this.#chunks = [];
    this.#unfinished.drop();
    this.#heldBytes = 0;
    return undefined;
  }
}
