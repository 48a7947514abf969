/**
 * A JSON object that a child writes over several lines (pretty-printed), put together line by line.
 * Guarantees: linear time; holds at most `maxBytes`; knows at each line whether the object is complete.
 */
import { Pieces } from '../../protocol/pieces.ts';

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;
const OPEN_ARRAY = 0x5b;
const CLOSE_ARRAY = 0x5d;
const BLANK = 0x20;
const LINE_END = Buffer.from('\n');

export class ObjectLines {
  readonly #maxBytes: number;
  readonly #held: Pieces;
  #depth = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
    this.#held = new Pieces(maxBytes);
  }

  get isEmpty(): boolean {
    return this.#held.length === 0;
  }

  /**
   * Takes the next line. `open` = it was taken, and more must come; `complete` = the object ends with it; `refused` = it cannot be a part of such an object,
   * and was not taken. The first line must begin with a brace and leave it open.
   */
  add(line: Buffer): 'open' | 'complete' | 'refused' {
    if (this.isEmpty && line[0] !== OPEN_OBJECT) return 'refused';
    const depth = depthBehind(line, this.#depth);
    if (depth === undefined || this.#held.length + line.length >= this.#maxBytes) return 'refused';
    if (this.isEmpty && depth === 0) return 'refused';
    this.#depth = depth;
    this.#held.add(line);
    this.#held.add(LINE_END);
    return depth === 0 ? 'complete' : 'open';
  }

  /** Returns what has come, and begins anew. */
  take(): Buffer {
    this.#depth = 0;
    return this.#held.take();
  }
}

/** Open braces and brackets at the end of the line; undefined = it ends inside a string, or has text behind the object. */
function depthBehind(line: Buffer, before: number): number | undefined {
  let depth = before;
  let isOver = false;
  for (let at = 0; at < line.length; at += 1) {
    const byte = line[at] as number;
    if (byte <= BLANK) continue;
    if (isOver) return undefined;
    if (byte === QUOTE) {
      at = stringEnd(line, at + 1);
      if (at < 0) return undefined;
    } else if (byte === OPEN_OBJECT || byte === OPEN_ARRAY) depth += 1;
    else if (byte === CLOSE_OBJECT || byte === CLOSE_ARRAY) {
      depth -= 1;
      isOver = depth === 0;
    }
  }
  return depth;
}

/** Where the string's closing quote is; −1 = it has none. */
function stringEnd(line: Buffer, from: number): number {
  for (let at = from; at < line.length; at += 1) {
    if (line[at] === BACKSLASH) at += 1;
    else if (line[at] === QUOTE) return at;
  }
  return -1;
}
