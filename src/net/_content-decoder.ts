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
import { HubError } from '../kernel/errors.ts';
import { type BodyCoding, bodyCoding, type ContentCoding, MAX_WINDOW_BITS } from './_content-coding.ts';
import { malformed } from './_http-head.ts';
import { faultCode } from './errors.ts';

/** `reason` of a body that cannot be decoded. */
export const UNDECODABLE = 'http-content-coding';
const PIECE_BYTES = 32 * 1024;
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
  #heldBytes = 0;
  #isBusy = false;
  #isOver = false;

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
    const came = joined(this.#pieces);
    this.#pieces = [];
    if (this.#isPlain) this.#sink.decoded(came);
    else if (this.#engine) this.#feed(this.#engine, came);
    else this.#begin(this.#first.length === 0 ? came : Buffer.concat([this.#first, came]), false);
  }

  /** The last piece has come. */
  end(): void {
    if (this.#isOver) return;
    if (!this.#engine && !this.#isPlain && this.#first.length > 0) this.#begin(this.#first, true);
    if (this.#isOver) return;
    if (this.#engine) this.#engine.end();
    else this.#finish();
  }

  pause(): void {
    this.#engine?.pause();
  }

  resume(): void {
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

  #begin(first: Buffer, isWhole: boolean): void {
    const found = bodyCoding(this.#coding, first, isWhole);
    this.#first = found === undefined ? first : EMPTY;
    if (found === undefined) return;
    if (found.kind === 'plain') {
      this.#isPlain = true;
      this.#sink.decoded(first);
      return;
    }
    if (found.bits > MAX_WINDOW_BITS)
      return this.#fail(`needs a window of more than ${2 ** (MAX_WINDOW_BITS - 20)} MiB`);
    if (!this.#memory.take(found.bytes)) {
      const message = 'Too many compressed answers of this server are arriving at once.';
      return this.#refuse(new HubError('overloaded', { message, detail: { phase: 'answer' } }));
    }
    this.#heldBytes = found.bytes;
    const engine = engineFor(found);
    this.#engine = engine;
    engine.on('data', (piece: Buffer) => this.#isOver || this.#sink.decoded(piece));
    engine.on('end', () => this.#finish());
    engine.on('error', (fault) => this.#fail(`cannot be decoded (${faultCode(fault)})`));
    this.#feed(engine, first);
  }

  #feed(engine: Transform, piece: Buffer): void {
    // What follows the end of a coded body belongs to nothing.
    if (!engine.writable) return;
    this.#isBusy = true;
    engine.write(piece, () => {
      if (this.#isOver) return;
      this.#isBusy = false;
      this.#sink.ready();
    });
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

function engineFor({ engine, bits }: Extract<BodyCoding, { kind: 'coded' }>): Transform {
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
