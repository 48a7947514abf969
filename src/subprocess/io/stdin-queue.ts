/**
 * The bytes on their way into a child: bounded, coalesced, watched.
 * Promises: `push` never waits; at most `maxBytes` wait behind what is being written, or one single message if that is larger, so that a large
 * message on its way is no reason to refuse a small one; a child that takes nothing for `stuckMs` while bytes wait is reported once; a broken pipe is never an exception, `broken` tells of it once.
 * Does not: end the child; `stuck` leads to whoever does.
 */
import type { Writable } from 'node:stream';
import { IdleWatch } from '../../runtime/deadline.ts';
import type { Runtime } from '../../runtime/runtime.ts';

export interface StdinOptions {
  readonly runtime: Runtime;
  readonly maxBytes: number;
  readonly stuckMs: number;
  readonly stuck: (unreadBytes: number, silentMs: number) => void;
  /** The child has closed its end, or is dead. Once. */
  readonly broken: () => void;
}

/** A write is cut into pieces of this size, so that slow progress is seen as progress. */
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
  /** Of a request that nothing has been written of. */
  readonly id: number | undefined;
}
const LINE_END: Waiting = { bytes: Buffer.from('\n'), id: undefined };

export class StdinQueue implements Disposable {
  readonly #stream: Writable;
  readonly #options: StdinOptions;
  #waiting: Waiting[] = []; // bounded by: maxBytes
  #waitingBytes = 0;
  /** Handed to the stream piece by piece; what had waited once, so that the same bound holds. */
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

  /** Bytes the child has not taken. */
  get unreadBytes(): number {
    return this.#waitingBytes + (this.#writing ? this.#writing.length - this.#writtenAt : 0);
  }

  /** True once nothing can be written any more. */
  get over(): boolean {
    return this.#over;
  }

  /** Takes one complete message without its line end. False = it does not fit now. `id` = of a request. */
  push(frame: Buffer, id?: number): boolean {
    if (this.unreadBytes === 0) this.#watchFromNow();
    // The line end of what is being written is no message that waits.
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

  /** Takes back the request with this id; false = it is not among those that wait, so it may have been written. */
  withdraw(id: number): boolean {
    const at = this.#waiting.findIndex((one) => one.id === id);
    const [withdrawn] = at < 0 ? [] : this.#waiting.splice(at, 2);
    if (withdrawn === undefined) return false;
    this.#waitingBytes -= withdrawn.bytes.length + 1;
    return true;
  }

  /** No more will come: what waits is written, then the child sees the end of its input. */
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

  /** A large message as it is, for copying megabytes takes milliseconds; small ones together. */
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

/** The message on one line, however the child tells lines apart. */
function asLine(frame: Buffer): Buffer {
  return withoutSeparators(withoutLineEnds(frame));
}

/**
 * U+2028 and U+2029 stand only inside strings of JSON text, where they may be escaped. Programs that read lines as Node's `readline` does take them for line
 * ends.
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

/** Raw line ends in JSON text stand only between tokens (inside strings they are escaped); as blanks they do not cut the message in two. */
function withoutLineEnds(frame: Buffer): Buffer {
  if (!frame.includes(NEWLINE) && !frame.includes(RETURN)) return frame;
  const flat = Buffer.from(frame);
  for (const end of [NEWLINE, RETURN]) {
    for (let at = flat.indexOf(end); at >= 0; at = flat.indexOf(end, at + 1)) flat[at] = BLANK;
  }
  return flat;
}
