/**
 * Decodes the content coding of one response incrementally.
 * Guarantees: decodes off the event loop, 32 KiB of output at a time, and pauses while the receiver does; all bytes of
 * one read are decoded together; a body that is damaged, truncated or needs a window above 8 MiB fails with its own
 * reason; `memory` counts what the decoder holds.
 */
import type { Transform } from 'node:stream';
import {
  constants,
  createBrotliDecompress,
  createGunzip,
  createInflate,
  createInflateRaw,
  createZstdDecompress,
} from 'node:zlib';
import { HubError } from '../model/errors.ts';
import { bodyCoding, type Coded, type ContentCoding, MAX_WINDOW_BITS, nextFrameCoding } from './_content-coding.ts';
import { malformed } from './_http-head.ts';
import { FrameEnds, frameStart } from './_zstd-frames.ts';
import { faultCode } from './errors.ts';

/** The `reason` of a body that cannot be decoded. */
export const UNDECODABLE = 'http-content-coding';
const PIECE_BYTES = 32 * 1024;
/** Most Zstandard frames in one read; each costs a call of the decoder. */
const MAX_FRAMES = 1000;
const EMPTY = Buffer.alloc(0);

/** The memory that decoding may use. */
export interface DecodingMemory {
  /** Reserves bytes. Returns false when there is no room for them. */
  take(bytes: number): boolean;
  give(bytes: number): void;
}

export interface DecoderSink {
  /** Receives a decoded piece; the receiver owns it. */
  decoded(piece: Buffer): void;
  /** The decoder is ready for the next compressed piece. */
  ready(): void;
  /** The body is decoded completely. */
  ended(): void;
  /** Decoding failed; nothing follows. */
  failed(fault: HubError): void;
}

export class ContentDecoder {
  readonly #coding: ContentCoding;
  readonly #memory: DecodingMemory;
  readonly #sink: DecoderSink;
  /** Pieces that arrived since the last `flush`. */
  #pieces: Buffer[] = []; // bounded by: one read of the connection
  #first: Buffer = EMPTY;
  #isPlain = false;
  #engine: Transform | undefined;
  /** Largest window that the decoder allows. */
  #bits = 0;
  #heldBytes = 0;
  #isBusy = false;
  /** True after the last piece arrived. */
  #isLast = false;
  /** Frame boundaries of a Zstandard body, which may consist of several frames. */
  #frames: FrameEnds | undefined;
  #isBetweenFrames = false;
  #framesInRead = 0;
  /** The beginning of a frame that needs a larger window. */
  #nextFrame: Buffer | undefined;
  #isOver = false;
  #isPaused = false;

  constructor(coding: ContentCoding, memory: DecodingMemory, sink: DecoderSink) {
    this.#coding = coding;
    this.#memory = memory;
    this.#sink = sink;
  }

  /** True while a piece is being decoded: do not write another one before `ready`. */
  get isBusy(): boolean {
    return this.#isBusy;
  }

  /** Takes a piece, which the next `flush` decodes. */
  write(piece: Buffer): void {
    if (!this.#isOver) this.#pieces.push(piece);
  }

  /** Decodes everything that one read contained at once, however small its chunks are. */
  flush(): void {
    if (this.#isOver || this.#pieces.length === 0) return;
    const came = joined(this.#first.length === 0 ? this.#pieces : [this.#first, ...this.#pieces]);
    this.#pieces = [];
    this.#first = EMPTY;
    this.#framesInRead = 0;
    if (this.#isPlain) this.#sink.decoded(came);
    else if (!this.#engine) this.#begin(came);
    else if (this.#isBetweenFrames) this.#goOn(this.#engine, came);
    else this.#feed(this.#engine, came);
  }

  /** Marks the end of the body. */
  end(): void {
    if (this.#isOver) return;
    this.#isLast = true;
    // More frames may follow the data being decoded; the body ends after the last one.
    if (!this.#frames || !this.#isBusy) this.#endEngine();
  }

  #endEngine(): void {
    const first = this.#first;
    this.#first = EMPTY;
    if (first.length > 0 && this.#engine) return this.#goOn(this.#engine, first);
    if (first.length > 0) this.#begin(first);
    if (this.#isOver || (this.#frames && this.#isBusy)) return;
    if (this.#engine) this.#engine.end();
    else this.#finish();
  }

  pause(): void {
    this.#isPaused = true;
    this.#engine?.pause();
  }

  resume(): void {
    this.#isPaused = false;
    this.#engine?.resume();
  }

  /** Stops decoding; nothing more is emitted. */
  close(): void {
    this.#isOver = true;
    this.#isBusy = false;
    this.#pieces = [];
    this.#engine?.destroy();
    this.#engine = undefined;
    this.#memory.give(this.#heldBytes);
    this.#heldBytes = 0;
  }

  #begin(first: Buffer): void {
    const found = bodyCoding(this.#coding, first, this.#isLast);
    if (found === undefined) {
      this.#first = first;
    } else if (found.kind === 'plain') {
      this.#isPlain = true;
      this.#sink.decoded(first);
    } else this.#start(found, first);
  }

  #start(found: Coded, first: Buffer): void {
    if (found.bits > MAX_WINDOW_BITS)
      return this.#fail(`needs a window of more than ${2 ** (MAX_WINDOW_BITS - 20)} MiB`);
    if (!this.#memory.take(found.bytes)) {
      const message = 'Too many compressed answers of this server are arriving at once.';
      return this.#refuse(new HubError('overloaded', { message, detail: { phase: 'answer' } }));
    }
    this.#heldBytes = found.bytes;
    this.#bits = found.bits;
    if (found.engine === 'zstd') this.#frames = new FrameEnds();
    const engine = engineFor(found);
    this.#engine = engine;
    engine.on('data', (piece: Buffer) => this.#isOver || this.#sink.decoded(piece));
    if (this.#isPaused) engine.pause();
    engine.on('end', () => this.#ended());
    engine.on('error', (fault) => this.#fail(`cannot be decoded (${faultCode(fault)})`));
    this.#feed(engine, first);
  }

  #feed(engine: Transform, piece: Buffer): void {
    // Data after the end of a compressed body is ignored.
    if (!engine.writable) return;
    this.#isBusy = true;
    const end = this.#frames?.next(piece);
    const isRest = end !== undefined && end < piece.length;
    engine.write(isRest ? piece.subarray(0, end) : piece, () => {
      if (this.#isOver) return;
      this.#isBusy = false;
      this.#isBetweenFrames = end !== undefined;
      if (isRest) return this.#goOn(engine, piece.subarray(end));
      this.#takeMore();
    });
  }

  #takeMore(): void {
    if (this.#isLast && this.#frames) this.#endEngine();
    else this.#sink.ready();
  }

  /** `rest` follows the end of a frame: it is another frame, or not part of the body. */
  #goOn(engine: Transform, rest: Buffer): void {
    const start = frameStart(rest);
    const found = start === 'none' || start === 'short' ? undefined : nextFrameCoding(rest, this.#isLast);
    if (start === 'none') {
      engine.end();
    } else if (found === undefined && !this.#isLast) {
      this.#first = rest;
      this.#sink.ready();
    } else if (++this.#framesInRead > MAX_FRAMES) {
      this.#fail(`has more than ${MAX_FRAMES} frames in one read`);
    } else if (found && found.bits > this.#bits) {
      this.#isBusy = true;
      this.#nextFrame = rest;
      engine.end();
    } else this.#feed(engine, rest);
  }

  /** Called when all output of the decoder was taken. */
  #ended(): void {
    const next = this.#nextFrame;
    if (next === undefined || this.#isOver) return this.#finish();
    this.#nextFrame = undefined;
    this.#engine?.destroy();
    this.#engine = undefined;
    this.#memory.give(this.#heldBytes);
    this.#heldBytes = 0;
    const found = nextFrameCoding(next, this.#isLast);
    if (found) this.#start(found, next);
  }

  #finish(): void {
    if (this.#isOver) return;
    this.close();
    this.#sink.ended();
  }

  #fail(why: string): void {
    this.#refuse(malformed(UNDECODABLE, `its body has the content coding ${this.#coding} and ${why}`));
  }

  #refuse(fault: HubError): void {
    if (this.#isOver) return;
    this.close();
    this.#sink.failed(fault);
  }
}

function joined(pieces: readonly Buffer[]): Buffer {
  return pieces.length === 1 ? (pieces[0] as Buffer) : Buffer.concat(pieces);
}

function engineFor({ engine, bits }: Coded): Transform {
  const chunkSize = PIECE_BYTES;
  switch (engine) {
    case 'gzip':
      return createGunzip({ chunkSize });
    case 'deflate':
      return createInflate({ chunkSize });
    case 'raw':
      return createInflateRaw({ chunkSize });
    case 'br':
      return createBrotliDecompress({ chunkSize });
    default:
      return createZstdDecompress({ chunkSize, params: { [constants.ZSTD_d_windowLogMax]: bits } });
  }
}
