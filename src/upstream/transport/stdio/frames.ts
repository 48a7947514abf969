/**
 * Splits a child's stdout into JSON-RPC messages, in small steps.
 * Guarantees: a turn handles at most 256 messages or a millisecond, a long message takes several turns; while messages
 * wait nothing more is read, which slows the child down; other output is counted, reported once a second and skipped,
 * at most 32 MiB or 250,000 lines a second; a line above `maxLineBytes` ends the stream.
 */
import type { Readable } from 'node:stream';
import { isRefusal, type Outcome, type Refusal } from '../../../model/outcome.ts';
import { type answerScan, answerSteps, batchSteps, scanAnswer } from '../../../protocol/answer.ts';
import { brokenSteps } from '../../../protocol/broken-message.ts';
import { LineSplitter } from '../../../protocol/lines.ts';
import type { Envelope } from '../../../protocol/message.ts';
import { isBatch } from '../../../protocol/scan.ts';
import { LARGE_BYTES, trimSteps } from '../../../protocol/scan-steps.ts';
import { IdleWatch } from '../../../runtime/idle-watch.ts';
import type { Runtime } from '../../../runtime/runtime.ts';
import type { QuotedReplies } from '../../connection/quoted-replies.ts';
import { PacedReader, type ReadStep } from '../paced-reader.ts';
import { GarbageLines, isBlank, SHOWN_BYTES } from './garbage-lines.ts';
import { salvage, withoutColours, withoutNuls } from './line-salvage.ts';
import { ObjectLines } from './object-lines.ts';

export interface FramesOptions {
  readonly runtime: Runtime;
  /** Name of the server, for people. */
  readonly server: string;
  readonly maxLineBytes: number;
  readonly scan: ReturnType<typeof answerScan>;
  readonly maxBatch: number;
  readonly quoted: Pick<QuotedReplies, 'may'>;
  readonly message: (envelope: Envelope) => void;
  /** Called for an invalid line that should have been the answer to these requests, or to an unknown one. */
  readonly unreadable: (ids: readonly number[], why: Refusal, line: Buffer) => void;
  /** Bytes came. */
  readonly alive: () => void;
  /** At most once a second. */
  readonly said: (line: string) => void;
  /** Called for an endless line; nothing more is read. */
  readonly tooLong: () => void;
  /** Called once, when the child has closed its end. */
  readonly ended: () => void;
}

const GATHER_BYTES = 64 * 1024;
const NEWLINE = 0x0a;
const RETURN = 0x0d;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;
const OPEN_ARRAY = 0x5b;
/** An unfinished object, message without a line end, or text before a message is taken as it is after this time, ms. */
const REST_MS = 200;
/** Number of lines with text before a message whose requests wait for a better answer; others end at once. */
const SUSPECTS = 64;

/** Work in several steps, and what each step is. */
interface Work {
  readonly step: ReadStep;
  readonly steps: Iterator<void, void>;
}

export class Frames {
  readonly #stream: Readable;
  readonly #options: FramesOptions;
  readonly #lines: LineSplitter;
  #pieces: Buffer[] = []; // bounded by: GATHER_BYTES
  #pieceBytes = 0;
  readonly #reader: PacedReader;
  /** Work in several steps: a long line, or one that is no valid message. */
  #work: Work | undefined;
  /** Data without a line end is to be read after everything else. */
  #isUnfinishedWanted = false;
  #over = false;
  #whenEmpty: (() => void) | undefined;
  readonly #garbage: GarbageLines;
  readonly #object: ObjectLines;
  #objectWatch: IdleWatch | undefined;
  /** Runs while a message may be waiting for its line end. */
  #newlineWait: Disposable | undefined;
  #suspects = 0;
  isCut = false; // the last data that was read ended in the middle of a message

  constructor(stream: Readable, options: FramesOptions) {
    this.#stream = stream;
    this.#options = options;
    this.#lines = new LineSplitter(options.maxLineBytes);
    this.#object = new ObjectLines(options.maxLineBytes);
    this.#garbage = new GarbageLines(options.runtime, options.said);
    this.#reader = new PacedReader({
      runtime: options.runtime,
      server: options.server,
      step: () => this.#step(),
      read: () => this.#read(),
    });
    stream.on('data', (chunk: Buffer) => {
      if (this.#over) return;
      options.alive();
      this.#awaitNewline(chunk[chunk.length - 1] as number);
      if (this.#gather(chunk)) this.#reader.run(stream);
    });
    stream.once('end', () => this.whenEmpty(() => options.ended()));
  }

  /** The beginning of the last line that was no message, masked, without control characters; or undefined. */
  get strayLine(): string | undefined {
    return this.#garbage.last;
  }

  /** Calls back when everything read has been handed on; at once when nothing waits. */
  whenEmpty(done: () => void): void {
    const before = this.#whenEmpty;
    if (this.#over) return done();
    this.#whenEmpty = () => {
      before?.();
      done();
    };
    this.#takeUnfinished();
  }

  /** Hands on nothing more. Further output is read and dropped, so that the child does not block. */
  mute(): void {
    this.#over = true;
    this.#reader.cancel();
    for (const timer of [this.#garbage, this.#newlineWait, this.#objectWatch]) timer?.[Symbol.dispose]();
    this.#stream.resume();
  }

  /** Joins pieces of a long line: a splitter with 100,000 tiny pieces walks through all for each new one. */
  #gather(chunk: Buffer): boolean {
    this.#pieces.push(chunk);
    this.#pieceBytes += chunk.length;
    if (this.#pieceBytes < GATHER_BYTES && !chunk.includes(NEWLINE)) return false;
    this.#lines.push(this.#pieces.length === 1 ? chunk : Buffer.concat(this.#pieces, this.#pieceBytes));
    this.#pieces = [];
    this.#pieceBytes = 0;
    return true;
  }

  #step(): ReadStep {
    if (this.#over) return 'done';
    if (this.#garbage.isTooMuch && !this.#whenEmpty) return this.#garbage.restMs();
    if (this.#work) return this.#goOn(this.#work);
    const line = this.#lines.nextLine();
    if (line !== undefined) this.#take(line);
    else if (this.#isUnfinishedWanted) {
      this.#isUnfinishedWanted = false;
      this.#work = { step: 'long', steps: this.#unfinishedSteps() };
    } else return 'done';
    return 'more';
  }

  #goOn({ step, steps }: Work): ReadStep {
    if (!steps.next().done) return step;
    this.#work = undefined;
    return 'more';
  }

  #read(): void {
    if (this.#lines.overlong) this.#cut();
    const done = this.#whenEmpty;
    this.#whenEmpty = undefined;
    done?.();
  }

  #take(line: Buffer | Generator<void, Buffer>): void {
    if (!Buffer.isBuffer(line) || line.length >= LARGE_BYTES) {
      this.#work = { step: 'long', steps: this.#lineSteps(line) };
    } else if (isBatch(line)) this.#work = { step: 'more', steps: this.#lineSteps(line) };
    else {
      const message = scanAnswer(line, this.#options.scan);
      if (!isRefusal(message)) this.#hand(message);
      else if (!isBlank(line)) this.#refuse(line, message);
    }
  }

  #refuse(line: Buffer, why: Refusal): void {
    // The next line of an object on several lines.
    const step = why.code === 'parse-error' && !this.#object.isEmpty ? this.#object.add(line) : 'refused';
    if (step === 'open') this.#objectWatch?.touch();
    else {
      const steps = step === 'complete' ? this.#closeObject(why) : this.#refusedSteps(line, why);
      this.#work = { step: 'more', steps };
    }
  }

  *#lineSteps(from: Buffer | Generator<void, Buffer>): Generator<void, void> {
    const { scan, maxBatch } = this.#options;
    const whole = Buffer.isBuffer(from) ? from : yield* from;
    const line = whole.length < LARGE_BYTES ? whole : yield* trimSteps(whole);
    const found = isBatch(line) ? yield* batchSteps(line, maxBatch, scan) : [yield* answerSteps(line, scan)];
    const refusal = isRefusal(found) ? found : found.find(isRefusal);
    if (!isRefusal(found)) for (const message of found) this.#hand(message);
    if (refusal) yield* this.#refusedSteps(line, refusal);
  }

  *#refusedSteps(line: Buffer, why: Refusal): Generator<void, void> {
    if (why.code === 'parse-error') yield* this.#salvage(line, why);
    else yield* this.#refused(line, why);
  }

  /** A line that is no JSON may be a part of an object, or contain messages. */
  *#salvage(line: Buffer, why: Refusal): Generator<void, void> {
    if (this.#over || isBlank(line)) return;
    if (!this.#object.isEmpty) {
      const step = yield* this.#object.addSteps(line);
      if (step === 'open') return this.#objectWatch?.touch();
      yield* this.#closeObject(why);
      if (step === 'complete') return;
    }
    const { messages, rest } = yield* salvage(line, this.#options.scan);
    for (const message of messages) this.#hand({ ...message, repaired: 'it was not alone on its line' });
    if (rest.length === 0) return;
    if (messages.length === 0 && (yield* this.#object.addSteps(rest)) === 'open') this.#openObject(why);
    else yield* this.#refused(messages.length === 0 ? line : rest, why);
  }

  #openObject(why: Refusal): void {
    this.#objectWatch = new IdleWatch(REST_MS, this.#options.runtime.wheel, () => {
      // Its next lines may have been read already.
      if (this.#reader.isBusy) return this.#objectWatch?.touch();
      this.#work = { step: 'long', steps: this.#closeObject(why) };
      this.#reader.run();
    });
  }

  *#closeObject(why: Refusal): Generator<void, void> {
    this.#objectWatch?.[Symbol.dispose]();
    this.#objectWatch = undefined;
    const text = yield* this.#object.take();
    const message = yield* answerSteps(text, this.#options.scan);
    if (isRefusal(message)) yield* this.#refused(text, message.code === 'parse-error' ? why : message);
    else this.#hand({ ...message, repaired: 'it was on several lines' });
  }

  /** Some programs write a message without a line end. */
  #awaitNewline(last: number): void {
    if (this.#newlineWait === undefined && last !== CLOSE_OBJECT && last !== RETURN && last !== 0) return;
    this.#newlineWait?.[Symbol.dispose]();
    this.#newlineWait = undefined;
    if (last === NEWLINE) return;
    this.#newlineWait = this.#options.runtime.timers.after(REST_MS, () => {
      this.#newlineWait = undefined;
      if (this.#reader.isBusy) this.#awaitNewline(last);
      else this.#takeUnfinished();
    });
  }

  #takeUnfinished(): void {
    this.#isUnfinishedWanted = true;
    this.#reader.run(this.#stream);
  }

  *#unfinishedSteps(): Generator<void, void> {
    this.#lines.push(Buffer.concat(this.#pieces, this.#pieceBytes));
    this.#pieces = [];
    this.#pieceBytes = 0;
    if (this.#lines.nextLine() !== undefined) return;
    const line = yield* this.#lines.cutSteps((text) => this.#isWhole(text));
    if (line) yield* this.#lineSteps(line);
  }

  *#isWhole(text: Buffer): Generator<void, boolean> {
    const { messages, rest } = yield* salvage(text, this.#options.scan);
    const isWhole = messages.length > 0 && rest.length === 0;
    this.isCut = text[0] === OPEN_OBJECT && !isWhole;
    return isWhole;
  }

  #hand(message: Outcome<Envelope>): void {
    if (!this.#over && !isRefusal(message)) this.#options.message(message);
  }

  *#refused(line: Buffer, why: Refusal): Generator<void, void> {
    if (this.#over) return;
    this.#garbage.add(line);
    const text = yield* withoutColours(line.includes(0) ? withoutNuls(line) : line);
    const { isAnswer, ids } = yield* brokenSteps(text, this.#options.maxBatch, this.#options.quoted.may);
    if (!isAnswer || this.#over) return;
    const isBegun = text[0] === OPEN_OBJECT || text[0] === OPEN_ARRAY;
    if (isBegun || (ids.length > 0 && this.#suspects >= SUSPECTS)) this.#options.unreadable(ids, why, line);
    else if (ids.length > 0) this.#suspect(ids, why, Buffer.from(line.subarray(0, SHOWN_BYTES)));
  }

  /** Text precedes what should be an answer: a log line about an answer that follows, or a corrupted answer. */
  #suspect(ids: readonly number[], why: Refusal, line: Buffer): void {
    this.#suspects += 1;
    this.#options.runtime.timers.after(REST_MS, () => {
      this.#suspects -= 1;
      if (!this.#over) this.#options.unreadable(ids, why, line);
    });
  }

  #cut(): void {
    this.mute();
    this.#options.tooLong();
  }
}
