/**
 * Undoes the content coding of one answer, piece by piece as it comes.
 * Guarantees: decoding runs off the event loop, 32 KiB of output at a time, and stops while nobody takes it; the bytes of one read are inside at once; a
 * body that is damaged, cut or needs a window above 8 MiB fails by name; what it holds is counted in `memory`.
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

/** `reason` of a body that cannot be decoded. */
export const UNDECODABLE = 'http-content-coding';
const PIECE_BYTES = 32 * 1024;
/** Frames of Zstandard in one read; each costs a call of the decoder. */
const MAX_FRAMES = 1000;
const EMPTY = Buffer.alloc(0);

/** Bytes that decoding may use. */
export interface DecodingMemory {
  /** False = there is no room for so many more. */
  take(bytes: number): boolean;
  give(bytes: number): void;
}

export interface DecoderSink {
  /** A decoded piece, the receiver's to keep. */
  decoded(piece: Buffer): void;
  /** The next compressed piece may come. */
  ready(): void;
  /** All is decoded. */
  ended(): void;
  /** Nothing follows. */
  failed(fault: HubError): void;
}

export class ContentDecoder {
  readonly #coding: ContentCoding;
  readonly #memory: DecodingMemory;
  readonly #sink: DecoderSink;
  /** What has come since the last `flush`. */
  #pieces: Buffer[] = []; // bounded by: one read of the connection
  #first: Buffer = EMPTY;
  #isPlain = false;
  #engine: Transform | undefined;
  /** Largest window of the engine. */
  #bits = 0;
  #heldBytes = 0;
  #isBusy = false;
  /** The last piece has come. */
  #isLast = false;
  /** Of Zstandard, where a body may be several frames. */
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

  /** A piece is inside: no other may come before `ready`. */
  get isBusy(): boolean {
    return this.#isBusy;
  }

  /** Takes a piece, which is decoded with the next `flush`. */
  write(piece: Buffer): void {
    if (!this.#isOver) this.#pieces.push(piece);
  }

  /** One read has been parsed: what came of it is decoded at once, however small the chunks are in which it was sent. */
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

  /** The last piece has come. */
  end(): void {
    if (this.#isOver) return;
    this.#isLast = true;
    // What is inside may be followed by more frames: it ends behind the last one.
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

  /** Nothing more comes out. */
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
    // What follows the end of a coded body belongs to nothing.
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

  /** `rest` stands behind the end of a frame: another one, or nothing that belongs to the body. */
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

  /** All that the engine had has been taken. */
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
