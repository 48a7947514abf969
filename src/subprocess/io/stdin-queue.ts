/**
 * Queues the bytes to a child's stdin. `stuck` leads to the code that ends the child.
 * Guarantees: `push` never waits; at most `maxBytes` wait behind the current write, or one larger message, so that a
 * large message does not cause small ones to be refused; a child that takes nothing for `stuckMs` while bytes wait is
 * reported once; a broken pipe throws nothing and calls `broken` once.
 */
import type { Writable } from 'node:stream';
import { IdleWatch } from '../../runtime/idle-watch.ts';
import type { Runtime } from '../../runtime/runtime.ts';

export interface StdinOptions {
  readonly runtime: Runtime;
  readonly maxBytes: number;
  readonly stuckMs: number;
  readonly stuck: (unreadBytes: number, silentMs: number) => void;
  /** The child has closed its end, or has exited. Called once. */
  readonly broken: () => void;
}

/** A write is split into pieces of this size, so that slow progress is noticed. */
const PIECE_BYTES = 64 * 1024;
const NEWLINE = 0x0a;
const RETURN = 0x0d;
const BLANK = 0x20;
const LINE_SEPARATOR = Buffer.from('\u2028');
const PARAGRAPH_SEPARATOR = Buffer.from('\u2029');
const SEPARATOR_BEGIN = LINE_SEPARATOR.subarray(0, 2);
const ESCAPED_LINE = Buffer.from('\\u2028');
const ESCAPED_PARAGRAPH = Buffer.from('\\u2029');

/** A message or the line end after it. */
interface Waiting {
  readonly bytes: Buffer;
  /** Id of a request of which nothing has been written. */
  readonly id: number | undefined;
}
const LINE_END: Waiting = { bytes: Buffer.from('\n'), id: undefined };

export class StdinQueue implements Disposable {
  readonly #stream: Writable;
  readonly #options: StdinOptions;
  #waiting: Waiting[] = []; // bounded by: maxBytes
  #waitingBytes = 0;
  /** Passed to the stream piece by piece; it waited before, so that the same limit applies. */
  #writing: Buffer | undefined;
  #writtenAt = 0;
  #pieceBytes = 0;
  #turnAsked = false;
  #watch: IdleWatch | undefined;
  #over = false;

  constructor(stream: Writable, options: StdinOptions) {
    this.#stream = stream;
    this.#options = options;
    stream.on('error', () => this.#broke());
    stream.on('close', () => this.#broke());
  }

  /** Bytes that the child has not read. */
  get unreadBytes(): number {
    return this.#waitingBytes + (this.#writing ? this.#writing.length - this.#writtenAt : 0);
  }

  /** True when nothing can be written any more. */
  get over(): boolean {
    return this.#over;
  }

  /** Adds one complete message without its line end. Returns false when there is no room now. `id`: of a request. */
  push(frame: Buffer, id?: number): boolean {
    if (this.unreadBytes === 0) this.#watchFromNow();
    // The line end of the current write does not count as a waiting message.
    const line = asLine(frame);
    const isFull = this.#waitingBytes > 1 && this.#waitingBytes + line.length + 1 > this.#options.maxBytes;
    if (isFull && this.#writing) return false;
    if (isFull) this.#write();
    this.#waiting.push({ bytes: line, id }, LINE_END);
    this.#waitingBytes += line.length + 1;
    if (!this.#turnAsked && !this.#writing) {
      this.#turnAsked = true;
      process.nextTick(() => {
        this.#turnAsked = false;
        this.#write();
      });
    }
    return true;
  }

  /** Removes the request with this id; returns false when it is not waiting, so that it may have been written. */
  withdraw(id: number): boolean {
    const at = this.#waiting.findIndex((one) => one.id === id);
    const [withdrawn] = at < 0 ? [] : this.#waiting.splice(at, 2);
    if (withdrawn === undefined) return false;
    this.#waitingBytes -= withdrawn.bytes.length + 1;
    return true;
  }

  /** Marks the end: waiting data is written, then the child's input ends. */
  end(): void {
    if (this.#over) return;
    this.#write();
    this.#stream.end();
    this.#end();
  }

  #write(): void {
    if (this.#over || this.#writing || this.#waiting.length === 0) return;
    this.#writing = this.#take();
    this.#waitingBytes -= this.#writing.length;
    this.#writtenAt = 0;
    this.#piece();
  }

  /** Returns a large message as it is, because copying megabytes takes milliseconds; joins small ones. */
  #take(): Buffer {
    const [first] = this.#waiting;
    if (first !== undefined && first.bytes.length >= PIECE_BYTES) {
      this.#waiting.shift();
      return first.bytes;
    }
    const large = this.#waiting.findIndex(({ bytes }) => bytes.length >= PIECE_BYTES);
    const small = this.#waiting.splice(0, large < 0 ? this.#waiting.length : large);
    return Buffer.concat(small.map(({ bytes }) => bytes));
  }

  #piece(): void {
    const writing = this.#writing;
    if (!writing) return;
    const piece = writing.subarray(this.#writtenAt, this.#writtenAt + PIECE_BYTES);
    this.#pieceBytes = piece.length;
    this.#stream.write(piece, (fault) => {
      if (fault || this.#over) return;
      this.#watch?.touch();
      this.#writtenAt += this.#pieceBytes;
      if (this.#writtenAt < writing.length) return this.#piece();
      this.#writing = undefined;
      this.#write();
    });
  }

  #watchFromNow(): void {
    this.#watch?.touch();
    this.#watch ??= new IdleWatch(this.#options.stuckMs, this.#options.runtime.wheel, (silentMs) => {
      this.#watch?.[Symbol.dispose]();
      this.#watch = undefined;
      const unread = this.unreadBytes;
      if (unread > 0 && !this.#over) this.#options.stuck(unread, silentMs);
    });
  }

  #broke(): void {
    if (this.#over) return;
    this.#end();
    this.#options.broken();
  }

  #end(): void {
    this.#over = true;
    this.#waiting = [];
    this.#waitingBytes = 0;
    this.#writing = undefined;
    this.#watch?.[Symbol.dispose]();
    this.#watch = undefined;
  }

  [Symbol.dispose](): void {
    this.#end();
  }
}

/** Returns the message on one line, for every definition of a line end. */
function asLine(frame: Buffer): Buffer {
  return withoutSeparators(withoutLineEnds(frame));
}

/**
 * Escapes U+2028 and U+2029, which occur only inside strings of JSON text. Programs that read lines like Node's
 * `readline` treat them as line ends.
 */
function withoutSeparators(frame: Buffer): Buffer {
  if (!frame.includes(LINE_SEPARATOR) && !frame.includes(PARAGRAPH_SEPARATOR)) return frame;
  const pieces: Buffer[] = []; // bounded by: the separators in the message
  let done = 0;
  for (let at = frame.indexOf(SEPARATOR_BEGIN); at >= 0; at = frame.indexOf(SEPARATOR_BEGIN, at + 2)) {
    const last = frame[at + 2];
    if (last !== 0xa8 && last !== 0xa9) continue;
    pieces.push(frame.subarray(done, at), last === 0xa8 ? ESCAPED_LINE : ESCAPED_PARAGRAPH);
    done = at + 3;
  }
  pieces.push(frame.subarray(done));
  return Buffer.concat(pieces);
}

/**
 * Replaces raw line ends, which JSON text has only between tokens, by blanks, so that they do not split the message.
 */
function withoutLineEnds(frame: Buffer): Buffer {
  if (!frame.includes(NEWLINE) && !frame.includes(RETURN)) return frame;
  const flat = Buffer.from(frame);
  for (const end of [NEWLINE, RETURN]) {
    for (let at = flat.indexOf(end); at >= 0; at = flat.indexOf(end, at + 1)) flat[at] = BLANK;
  }
  return flat;
}
