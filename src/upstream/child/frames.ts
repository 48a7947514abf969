/**
 * A child's stdout cut into JSON-RPC messages, a little at a time.
 * Promises: a turn of the loop takes at most 256 messages or a millisecond (B12), and a long message several turns; while messages wait, nothing more is read, so that the pipe slows the
 * child down; what is no JSON-RPC is counted, reported once a second and skipped (B9), and more than 32 MiB or 250,000 lines of it a second
 * are not read; a line longer than `maxLineBytes` ends the stream (B10).
 * Does not: know what a message means.
 */
import type { Readable } from 'node:stream';
import { IdleWatch } from '../../kernel/deadline.ts';
import type { Kernel } from '../../kernel/kernel.ts';
import { isRefusal, type Outcome, type Refusal } from '../../kernel/outcome.ts';
import { type answerScan, answerSteps, LARGE_BYTES, scanAnswer, scanAnswers } from '../../protocol/answer.ts';
import { brokenAnswer } from '../../protocol/broken-message.ts';
import { LineSplitter } from '../../protocol/lines.ts';
import type { Envelope } from '../../protocol/message.ts';
import { isBatch } from '../../protocol/scan.ts';
import type { QuotedReplies } from '../_quoted-replies.ts';
import { GarbageLines, isBlank, SHOWN_BYTES } from './garbage-lines.ts';
import { salvage, withoutColours, withoutNuls } from './line-salvage.ts';
import { ObjectLines } from './object-lines.ts';

export interface FramesOptions {
  readonly kernel: Kernel;
  readonly maxLineBytes: number;
  readonly scan: ReturnType<typeof answerScan>;
  readonly maxBatch: number;
  readonly quoted: Pick<QuotedReplies, 'may'>;
  readonly message: (envelope: Envelope) => void;
  /** A line would have been the answer to these requests, or to one that it does not say, and is no message. */
  readonly unreadable: (ids: readonly number[], why: Refusal, line: Buffer) => void;
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
const GATHER_BYTES = 64 * 1024;
const NEWLINE = 0x0a;
const RETURN = 0x0d;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;
const OPEN_ARRAY = 0x5b;
/** What is begun and not finished by then is taken as it is: an object on several lines, a message without a line end, text before a message. */
const REST_MS = 200;
/** Lines with text before a message whose requests wait for a better answer; the requests of more of them end at once. */
const SUSPECTS = 64;

export class Frames {
  readonly #stream: Readable;
  readonly #options: FramesOptions;
  readonly #lines: LineSplitter;
  #pieces: Buffer[] = []; // bounded by: GATHER_BYTES
  #pieceBytes = 0;
  #turnAsked = false;
  /** The long line that is being read. */
  #long: { readonly line: Buffer; readonly steps: Iterator<void, Outcome<Envelope>> } | undefined;
  #over = false;
  #whenEmpty: (() => void) | undefined;
  readonly #garbage: GarbageLines;
  readonly #object: ObjectLines;
  #objectWatch: IdleWatch | undefined;
  /** Runs while a message may be waiting for its line end. */
  #newlineWait: Disposable | undefined;
  #suspects = 0;
  isCut = false; // what was read last ended in the middle of a message

  constructor(stream: Readable, options: FramesOptions) {
    this.#stream = stream;
    this.#options = options;
    this.#lines = new LineSplitter(options.maxLineBytes);
    this.#object = new ObjectLines(options.maxLineBytes);
    this.#garbage = new GarbageLines(options.kernel, options.said);
    stream.on('data', (chunk: Buffer) => {
      if (this.#over) return;
      options.alive();
      this.#awaitNewline(chunk[chunk.length - 1] as number);
      if (!this.#gather(chunk)) return;
      if (!this.#turnAsked) this.#turn();
    });
    stream.once('end', () => {
      if (!this.#turnAsked) this.#takeUnfinished();
      options.ended();
    });
  }

  /** The beginning of the last line that was no message, masked and without control characters; undefined = there was none. */
  get strayLine(): string | undefined {
    return this.#garbage.last;
  }

  /** Calls back once what has been read is handed on; at once when nothing waits. */
  whenEmpty(done: () => void): void {
    this.#whenEmpty = done;
    if (!this.#turnAsked) this.#emptied();
  }

  /** Hands on nothing more. What still comes is read and thrown away, so that the child does not block. */
  mute(): void {
    this.#over = true;
    for (const timer of [this.#garbage, this.#newlineWait, this.#objectWatch]) timer?.[Symbol.dispose]();
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
      if (!this.#goOn()) return this.#later();
      const line = this.#lines.next();
      if (line === undefined) return this.#empty();
      this.#take(line);
      if (this.#long || frames >= TURN_FRAMES || clock.nowMs() >= endMs) return this.#later();
    }
  }

  #empty(): void {
    if (this.#lines.overlong) return this.#cut();
    if (this.#garbage.isTooMuch) return this.#later();
    if (this.#stream.isPaused()) this.#stream.resume();
    if (this.#whenEmpty) this.#emptied();
  }

  #emptied(): void {
    this.#takeUnfinished();
    this.#whenEmpty?.();
    this.#whenEmpty = undefined;
  }

  /** The rest in another turn of the loop; after too much garbage when the second is over. */
  #later(): void {
    this.#turnAsked = true;
    this.#stream.pause();
    if (this.#garbage.isTooMuch && !this.#whenEmpty)
      this.#options.kernel.timers.after(this.#garbage.restMs(), () => this.#turn());
    else setImmediate(() => this.#turn());
  }

  #take(line: Buffer): void {
    const { scan, maxBatch } = this.#options;
    if (isBatch(line)) this.#taken(line, scanAnswers(line, maxBatch, scan));
    else if (line.length < LARGE_BYTES) this.#taken(line, [scanAnswer(line, scan)]);
    else this.#long = { line, steps: answerSteps(line, scan) };
  }

  /** Reads on in a long line. False = it goes on in the next turn. */
  #goOn(): boolean {
    if (!this.#long) return true;
    const { line, steps } = this.#long;
    const step = steps.next();
    if (!step.done) return false;
    this.#long = undefined;
    this.#taken(line, [step.value]);
    return true;
  }

  #taken(line: Buffer, found: Outcome<readonly Outcome<Envelope>[]>): void {
    const refusal = isRefusal(found) ? found : found.find(isRefusal);
    if (!isRefusal(found)) for (const message of found) this.#hand(message);
    if (refusal?.code === 'parse-error') this.#salvage(line, refusal);
    else if (refusal) this.#refused(line, refusal);
  }

  /** A line that is no JSON may be a part of an object, or have messages in it. */
  #salvage(line: Buffer, why: Refusal): void {
    if (this.#over || isBlank(line)) return;
    if (!this.#object.isEmpty) {
      const step = this.#object.add(line);
      if (step === 'open') return this.#objectWatch?.touch();
      this.#closeObject(why);
      if (step === 'complete') return;
    }
    const { messages, rest } = salvage(line, this.#options.scan);
    for (const message of messages) this.#hand({ ...message, repaired: 'it was not alone on its line' });
    if (rest.length === 0) return;
    if (messages.length === 0 && this.#object.add(rest) === 'open') this.#openObject(why);
    else this.#refused(messages.length === 0 ? line : rest, why);
  }

  #openObject(why: Refusal): void {
    this.#objectWatch = new IdleWatch(REST_MS, this.#options.kernel.wheel, () => {
      // Its next lines may have been read already.
      if (this.#turnAsked) this.#objectWatch?.touch();
      else this.#closeObject(why);
    });
  }

  #closeObject(why: Refusal): void {
    this.#objectWatch?.[Symbol.dispose]();
    this.#objectWatch = undefined;
    const text = this.#object.take();
    const message = scanAnswer(text, this.#options.scan);
    if (isRefusal(message)) this.#refused(text, message.code === 'parse-error' ? why : message);
    else this.#hand({ ...message, repaired: 'it was on several lines' });
  }

  /** Some programs write a message and no line end. */
  #awaitNewline(last: number): void {
    if (this.#newlineWait === undefined && last !== CLOSE_OBJECT && last !== RETURN && last !== 0) return;
    this.#newlineWait?.[Symbol.dispose]();
    this.#newlineWait = undefined;
    if (last === NEWLINE) return;
    this.#newlineWait = this.#options.kernel.timers.after(REST_MS, () => {
      this.#newlineWait = undefined;
      if (this.#turnAsked) this.#awaitNewline(last);
      else this.#takeUnfinished();
    });
  }

  #takeUnfinished(): void {
    this.#lines.push(Buffer.concat(this.#pieces, this.#pieceBytes));
    this.#pieces = [];
    this.#pieceBytes = 0;
    if (this.#over || this.#lines.next() !== undefined) return;
    const line = this.#lines.cut((text) => {
      const { messages, rest } = salvage(text, this.#options.scan);
      const isWhole = messages.length > 0 && rest.length === 0;
      this.isCut = text[0] === OPEN_OBJECT && !isWhole;
      return isWhole;
    });
    if (line) this.#take(line);
    while (!this.#goOn());
  }

  #hand(message: Outcome<Envelope>): void {
    if (!this.#over && !isRefusal(message)) this.#options.message(message);
  }

  #refused(line: Buffer, why: Refusal): void {
    if (this.#over) return;
    this.#garbage.add(line);
    const text = withoutColours(line.includes(0) ? withoutNuls(line) : line);
    const { isAnswer, ids } = brokenAnswer(text, this.#options.maxBatch, this.#options.quoted.may);
    if (!isAnswer) return;
    const isBegun = text[0] === OPEN_OBJECT || text[0] === OPEN_ARRAY;
    if (isBegun || (ids.length > 0 && this.#suspects >= SUSPECTS)) this.#options.unreadable(ids, why, line);
    else if (ids.length > 0) this.#suspect(ids, why, Buffer.from(line.subarray(0, SHOWN_BYTES)));
  }

  /** Text stands before what would be an answer: a log line about an answer that is on its way, or a spoilt answer. */
  #suspect(ids: readonly number[], why: Refusal, line: Buffer): void {
    this.#suspects += 1;
    this.#options.kernel.timers.after(REST_MS, () => {
      this.#suspects -= 1;
      if (!this.#over) this.#options.unreadable(ids, why, line);
    });
  }

  #cut(): void {
    this.mute();
    this.#options.tooLong();
  }
}
