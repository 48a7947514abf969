/**
 * A child's stdout cut into JSON-RPC messages, a little at a time.
 * Promises: a turn of the loop takes at most 256 messages or a millisecond (B12); while messages wait, nothing more is read, so that the pipe slows the
 * child down; what is no JSON-RPC is counted, reported once a second and skipped (B9), and more than 32 MiB or 250,000 lines of it a second
 * are not read; a line longer than `maxLineBytes` ends the stream (B10).
 * Does not: know what a message means.
 */
import type { Readable } from 'node:stream';
import type { Kernel } from '../../kernel/kernel.ts';
import { isRefusal, type Outcome, type Refusal } from '../../kernel/outcome.ts';
import { type answerScan, replyIdsIn, scanAnswer, scanAnswers } from '../../protocol/answer.ts';
import { LineSplitter } from '../../protocol/lines.ts';
import type { Envelope } from '../../protocol/message.ts';
import { isBatch } from '../../protocol/scan.ts';
import { plainLine } from './plain-text.ts';

export interface FramesOptions {
  readonly kernel: Kernel;
  readonly maxLineBytes: number;
  readonly scan: ReturnType<typeof answerScan>;
  readonly maxBatch: number;
  readonly message: (envelope: Envelope) => void;
  /** A line would have been the reply to this request, and is no message. */
  readonly unreadable: (id: number, why: Refusal) => void;
  /** Bytes came. */
  readonly alive: () => void;
  /** At most once a second. */
  readonly said: (line: string) => void;
  /** A line without end; nothing is read any more. */
  readonly tooLong: () => void;
  /** The child has closed its end. Once. */
  readonly ended: () => void;
}

const TURN_MS = 1;
const TURN_FRAMES = 256;
const SECOND_MS = 1000;
const GARBAGE_BYTES = 32 * 1024 * 1024;
/** A line costs this much beside its bytes: a million two-byte lines are work as well. */
const GARBAGE_LINE_BYTES = 128;
const GATHER_BYTES = 64 * 1024;
const NEWLINE = 0x0a;
const SHOWN_BYTES = 512;
const SHOWN_CHARS = 200;

export class Frames {
  readonly #stream: Readable;
  readonly #options: FramesOptions;
  readonly #lines: LineSplitter;
  #pieces: Buffer[] = []; // bounded by: GATHER_BYTES
  #pieceBytes = 0;
  #turnAsked = false;
  #over = false;
  #whenEmpty: (() => void) | undefined;
  #secondMs = Number.NEGATIVE_INFINITY;
  #garbageLines = 0;
  #garbageBytes = 0;
  #garbageSeen = Buffer.alloc(0);
  #reporting: Disposable | undefined;

  constructor(stream: Readable, options: FramesOptions) {
    this.#stream = stream;
    this.#options = options;
    this.#lines = new LineSplitter(options.maxLineBytes);
    stream.on('data', (chunk: Buffer) => {
      if (this.#over) return;
      options.alive();
      if (!this.#gather(chunk)) return;
      if (!this.#turnAsked) this.#turn();
    });
    stream.once('end', options.ended);
  }

  /** Calls back once what has been read is handed on; at once when nothing waits. */
  whenEmpty(done: () => void): void {
    if (!this.#turnAsked) return done();
    this.#whenEmpty = done;
  }

  /** Hands on nothing more. What still comes is read and thrown away, so that the child does not block. */
  mute(): void {
    this.#over = true;
    this.#reporting?.[Symbol.dispose]();
    this.#stream.resume();
  }

  /** Pieces of one long line are put together first: a splitter that holds 100,000 tiny pieces walks them all at each new one. */
  #gather(chunk: Buffer): boolean {
    this.#pieces.push(chunk);
    this.#pieceBytes += chunk.length;
    if (this.#pieceBytes < GATHER_BYTES && !chunk.includes(NEWLINE)) return false;
    this.#lines.push(this.#pieces.length === 1 ? chunk : Buffer.concat(this.#pieces, this.#pieceBytes));
    this.#pieces = [];
    this.#pieceBytes = 0;
    return true;
  }

  #turn(): void {
    this.#turnAsked = false;
    const clock = this.#options.kernel.clock;
    const endMs = clock.nowMs() + TURN_MS;
    for (let frames = 1; !this.#over; frames += 1) {
      const line = this.#lines.next();
      if (line === undefined) return this.#empty();
      this.#take(line);
      if (frames >= TURN_FRAMES || clock.nowMs() >= endMs) return this.#later();
    }
  }

  #empty(): void {
    if (this.#lines.overlong) return this.#cut();
    if (this.#garbageBytes > GARBAGE_BYTES) return this.#later();
    if (this.#stream.isPaused()) this.#stream.resume();
    this.#whenEmpty?.();
    this.#whenEmpty = undefined;
  }

  /** The rest in another turn of the loop; after too much garbage when the second is over. */
  #later(): void {
    this.#turnAsked = true;
    this.#stream.pause();
    if (this.#garbageBytes > GARBAGE_BYTES && !this.#whenEmpty) {
      const restMs = Math.max(0, this.#secondMs + SECOND_MS - this.#options.kernel.clock.nowMs());
      this.#garbageBytes = 0;
      this.#options.kernel.timers.after(restMs, () => this.#turn());
    } else setImmediate(() => this.#turn());
  }

  #take(line: Buffer): void {
    const { scan, maxBatch } = this.#options;
    const found = isBatch(line) ? scanAnswers(line, maxBatch, scan) : [scanAnswer(line, scan)];
    const refusal = isRefusal(found) ? found : found.find(isRefusal);
    if (!isRefusal(found)) for (const message of found) this.#hand(message);
    if (refusal) this.#refused(line, refusal);
  }

  #hand(message: Outcome<Envelope>): void {
    if (!this.#over && !isRefusal(message)) this.#options.message(message);
  }

  #refused(line: Buffer, why: Refusal): void {
    if (this.#over) return;
    this.#garbage(line);
    for (const id of replyIdsIn(line, this.#options.maxBatch)) this.#options.unreadable(id, why);
  }

  #garbage(line: Buffer): void {
    if (isBlank(line)) return; // common between messages
    const nowMs = this.#options.kernel.clock.nowMs();
    if (nowMs - this.#secondMs >= SECOND_MS) {
      this.#secondMs = nowMs;
      this.#garbageBytes = 0;
    }
    this.#garbageBytes += line.length + GARBAGE_LINE_BYTES;
    this.#garbageLines += 1;
    // Made readable when it is shown, which is once a second: there may be 20,000 of them.
    this.#garbageSeen = Buffer.from(line.subarray(0, SHOWN_BYTES));
    if (this.#reporting) return;
    this.#report();
    this.#reporting = this.#options.kernel.timers.after(SECOND_MS, () => {
      this.#reporting = undefined;
      if (this.#garbageLines > 0) this.#report();
    });
  }

  #report(): void {
    const more = this.#garbageLines > 1 ? ` (and ${this.#garbageLines - 1} more lines that are no message)` : '';
    this.#garbageLines = 0;
    const text = plainLine(this.#garbageSeen.toString('utf8')).trim().slice(0, SHOWN_CHARS);
    if (text !== '' || more !== '') this.#options.said(`stdout: ${text}${more}`);
  }

  #cut(): void {
    this.mute();
    this.#options.tooLong();
  }
}

/** Nothing but spaces and line ends. Looks at as much as would be shown. */
function isBlank(line: Buffer): boolean {
  const end = Math.min(line.length, SHOWN_BYTES);
  for (let at = 0; at < end; at += 1) if ((line[at] as number) > 0x20) return false;
  return true;
}
