/**
 * Parses HTTP/1.1 responses from the bytes of a connection (RFC 9112): a head, then a body by length, in chunks or
 * until the connection ends. Receivers limit the size of bodies; `_content-decoder.ts` decodes them.
 * Guarantees: pure and strict; results do not depend on how the bytes were split; stops after the end of a response and
 * returns that offset, so that surplus bytes are detected; skips a limited number of interim responses (1xx) and
 * refuses 101; chunk extensions and trailers are limited and discarded; body pieces are passed on without buffering.
 */
import { HeadReader, malformed } from './_http-head.ts';
import type { ResponseHeaders } from './_http-types.ts';

export interface WireSink {
  /** Status and headers of the final response. */
  head(status: number, headers: ResponseHeaders): void;
  /** A piece of the body; the receiver owns it. */
  body(chunk: Buffer): void;
}

type State =
  | 'head'
  | 'length'
  | 'close'
  | 'size'
  | 'padding'
  | 'extension'
  | 'size-end'
  | 'chunk'
  | 'chunk-cr'
  | 'chunk-lf'
  | 'trailers'
  | 'done';

const CR = 13;
const LF = 10;
const TAB = 9;
const SPACE = 32;
const SEMICOLON = 59;
/** Most interim responses before the final one. */
const MAX_INTERIM = 100;
/** Hexadecimal digits of a chunk size: up to 4 GiB. Leading zeros count. */
const MAX_SIZE_DIGITS = 8;
/**
 * A body or chunk that arrives in several reads gets one buffer of its full length when that is at most this long, and
 * at most a fixed multiple of what has arrived. Its pieces are then adjacent, and the receiver joins them without
 * another copy.
 */
const WHOLE_BYTES = 1024 * 1024;
const WHOLE_TIMES = 8;
/** Bytes of chunk extensions that are allowed without any body bytes. */
const MAX_EXTENSION_BYTES = 4096;

export class ResponseParser {
  readonly #sink: WireSink;
  readonly #copies: boolean;
  readonly #head = new HeadReader();
  #state: State = 'done';
  #bodiless = false;
  #reusable = false;
  #halted = false;
  #interim = 0;
  /** Remaining bytes of the body or of this chunk. */
  #left = 0;
  #digits = 0;
  #extension = 0;
  /** Buffer for the rest of the body or chunk, when `#copies` is true. */
  #room: Buffer | undefined;

  /** `copies` is true when the caller overwrites the buffers given to `execute`; body pieces are then copied. */
  constructor(sink: WireSink, copies: boolean) {
    this.#sink = sink;
    this.#copies = copies;
  }

  /** Starts a response. `bodiless` is true for a response to HEAD. */
  begin(bodiless: boolean): void {
    this.#head.begin(false);
    this.#state = 'head';
    this.#bodiless = bodiless;
    this.#reusable = false;
    this.#halted = false;
    this.#interim = 0;
    this.#extension = 0;
    this.#room = undefined;
  }

  /** True after the end of the response. */
  get done(): boolean {
    return this.#state === 'done';
  }

  /** True after a response when the connection can carry another request. */
  get reusable(): boolean {
    return this.#reusable;
  }

  /** Stops `execute` after the current piece. */
  halt(): void {
    this.#halted = true;
  }

  resume(): void {
    this.#halted = false;
  }

  /**
   * Reads from `from` to `to`, at most to the end of the response or to the piece after which it was halted; returns
   * the offset reached. Throws `upstream-protocol`.
   */
  execute(buffer: Buffer, from: number, to: number): number {
    let at = from;
    while (at < to && !this.#halted && this.#state !== 'done') at = this.#step(buffer, at, to);
    return at;
  }

  /** Called when the connection has ended. Returns true when the response is complete then. */
  finish(): boolean {
    if (this.#state === 'close') this.#state = 'done';
    return this.#state === 'done';
  }

  #step(buffer: Buffer, at: number, to: number): number {
    switch (this.#state) {
      case 'head':
        return this.#readHead(buffer, at, to);
      case 'length':
      case 'chunk':
      case 'close':
        return this.#readBody(buffer, at, to);
      case 'trailers': {
        const end = this.#head.read(buffer, at, to);
        if (this.#head.complete) this.#state = 'done';
        return end;
      }
      default:
        this.#readByte(buffer[at] ?? 0);
        return at + 1;
    }
  }

  #readHead(buffer: Buffer, at: number, to: number): number {
    const head = this.#head;
    const end = head.read(buffer, at, to);
    if (!head.complete) return end;
    const { status, headers } = head;
    const { kind, length, reusable } = head.framing(this.#bodiless);
    if (status < 200) {
      this.#interim += 1;
      if (status === 101) throw malformed('http-upgrade', 'it switches protocols without a request to do so');
      if (this.#interim > MAX_INTERIM) throw malformed('http-interim', 'too many interim answers come before it');
      head.begin(false);
      return end;
    }
    this.#reusable = reusable;
    this.#left = length;
    if (kind === 'chunked') this.#nextChunk();
    else this.#state = kind === 'none' || (kind === 'length' && length === 0) ? 'done' : kind;
    this.#sink.head(status, headers);
    return end;
  }

  #readBody(buffer: Buffer, at: number, to: number): number {
    let end = to;
    if (this.#state !== 'close') {
      end = Math.min(to, at + this.#left);
      this.#left -= end - at;
      if (this.#left === 0) this.#state = this.#state === 'chunk' ? 'chunk-cr' : 'done';
    }
    this.#extension = Math.max(0, this.#extension - (end - at));
    this.#sink.body(this.#copies ? this.#copy(buffer, at, end) : buffer.subarray(at, end));
    return end;
  }

  /** `#left` is the number of bytes that follow. */
  #copy(buffer: Buffer, at: number, end: number): Buffer {
    const length = end - at;
    const rest = this.#left;
    const isWorthIt = rest > 0 && rest + length <= Math.min(WHOLE_BYTES, WHOLE_TIMES * length);
    const room = this.#room ?? (isWorthIt ? Buffer.allocUnsafe(rest + length) : undefined);
    if (room === undefined) return copyOf(buffer, at, end);
    buffer.copy(room, 0, at, end);
    this.#room = rest === 0 ? undefined : room.subarray(length);
    return room.subarray(0, length);
  }

  #nextChunk(): void {
    this.#state = 'size';
    this.#left = 0;
    this.#digits = 0;
  }

  #readByte(byte: number): void {
    switch (this.#state) {
      case 'size':
        this.#readSize(byte);
        return;
      case 'padding':
        if (byte === CR) this.#state = 'size-end';
        else if (byte === SEMICOLON) this.#state = 'extension';
        else if (byte !== SPACE && byte !== TAB) throw badChunk();
        else this.#extension += 1;
        if (this.#extension > MAX_EXTENSION_BYTES) throw badChunk();
        return;
      case 'extension':
        if (byte === CR) this.#state = 'size-end';
        else if ((byte < SPACE && byte !== TAB) || byte === 127) throw badChunk();
        else this.#extension += 1;
        if (this.#extension > MAX_EXTENSION_BYTES) throw badChunk();
        return;
      case 'size-end':
        if (byte !== LF) throw badChunk();
        if (this.#left === 0) {
          this.#head.begin(true);
          this.#state = 'trailers';
        } else this.#state = 'chunk';
        return;
      case 'chunk-cr':
        if (byte !== CR) throw badChunk();
        this.#state = 'chunk-lf';
        return;
      default:
        if (byte !== LF) throw badChunk();
        this.#nextChunk();
    }
  }

  #readSize(byte: number): void {
    const digit = hexDigit(byte);
    if (digit >= 0) {
      this.#digits += 1;
      if (this.#digits > MAX_SIZE_DIGITS) throw badChunk();
      this.#left = this.#left * 16 + digit;
      return;
    }
    if (this.#digits === 0) throw badChunk();
    if (byte === CR) this.#state = 'size-end';
    else if (byte === SEMICOLON) this.#state = 'extension';
    else if (byte === SPACE || byte === TAB) this.#state = 'padding';
    else throw badChunk();
  }
}

function hexDigit(byte: number): number {
  if (byte >= 48 && byte <= 57) return byte - 48;
  const letter = byte | 32;
  return letter >= 97 && letter <= 102 ? letter - 87 : -1;
}

function copyOf(buffer: Buffer, from: number, to: number): Buffer {
  const copy = Buffer.allocUnsafe(to - from);
  buffer.copy(copy, 0, from, to);
  return copy;
}

function badChunk(): Error {
  return malformed('http-chunk', 'a chunk of its body is malformed');
}
