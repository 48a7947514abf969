/**
 * Encodes and decodes server-sent events.
 * Guarantees: the decoder is linear, accepts CR, LF and CRLF, a byte order mark, several data lines and comments, and
 * holds at most `maxBytes` of one event; in encoded events newlines in the data never break the framing.
 * Source: WHATWG HTML, server-sent events.
 */
import { HubError } from '../model/errors.ts';
import { Pieces } from './pieces.ts';

const LF = 0x0a;
const CR = 0x0d;
const COLON = 0x3a;
const SPACE = 0x20;
const END = Buffer.from('\n\n');
const DATA = Buffer.from('data: ');
const NEWLINE = Buffer.from('\n');
const NOTHING = Buffer.alloc(0);
/** Lines that are read in one step. */
const STEP_LINES = 512;
/** A longer line or event is assembled in steps. */
const LARGE_BYTES = 256 * 1024;

export interface SseEvent {
  readonly event: string;
  /** The last id of the stream, set by this event or an earlier one. */
  readonly id: string | undefined;
  readonly data: Buffer;
  /** Milliseconds, when the event contained `retry`. */
  readonly retryMs: number | undefined;
}

export interface OutgoingEvent {
  readonly event?: string;
  readonly id?: string;
  readonly data: Buffer;
  readonly retryMs?: number;
}

export function sseEvent(event: OutgoingEvent): Buffer {
  return Buffer.concat(sseEventPieces(event));
}

/** Encodes an event in pieces, so that data for many recipients is not copied for each of them. */
export function sseEventPieces(event: OutgoingEvent): readonly Buffer[] {
  let head = '';
  if (event.event !== undefined) head += `event: ${event.event}\n`;
  if (event.id !== undefined) head += `id: ${event.id}\n`;
  if (event.retryMs !== undefined) head += `retry: ${event.retryMs}\n`;
  return [Buffer.from(`${head}data: `), asDataLines(event.data), END];
}

/** Returns a comment line, which every client ignores; keeps proxies from closing a quiet stream. */
export function sseComment(text = ''): Buffer {
  return Buffer.from(`:${text.replace(/[\r\n]+/g, ' ')}\n\n`);
}

/** Starts a data line after each line end. Does not build a list of lines: pretty-printed JSON has a million. */
function asDataLines(data: Buffer): Buffer {
  if (!data.includes(LF) && !data.includes(CR)) return data;
  let ends = 0;
  for (const byte of data) if (byte === LF || byte === CR) ends += 1;
  const out = Buffer.allocUnsafe(data.length + ends * DATA.length);
  let to = 0;
  for (let at = 0; at < data.length; at += 1) {
    const byte = data[at] as number;
    if (byte !== LF && byte !== CR) {
      out[to] = byte;
      to += 1;
      continue;
    }
    if (byte === CR && data[at + 1] === LF) at += 1;
    out[to] = LF;
    to += 1 + DATA.copy(out, to + 1);
  }
  return out.subarray(0, to);
}

const LONGEST_FIELD = 'event';
/** A longer name of an event is cut, and a longer id, which then is too long for a header. */
const NAME_BYTES = 256;
const ID_BYTES = 32_768;

export class SseDecoder {
  readonly #maxBytes: number;
  readonly #sink: (event: SseEvent) => void;
  readonly #unfinished: Pieces;
  readonly #data: Pieces;
  #dataLines = 0;
  #event = '';
  #id: string | undefined;
  #hasId = false;
  #retryMs: number | undefined;
  #skipLf = false;
  #first = true;
  #chunk: Buffer = NOTHING;
  /** Offset up to which the chunk was read, and the offsets of the next line ends. */
  #at = 0;
  #lf = -1;
  #cr = -1;
  /** A long line or event that is being assembled. */
  #long: Iterator<void, void> | undefined;
  #events = 0;

  /**
   * `push` and `step` throw HubError('upstream-too-large') when one event exceeds `maxBytes`; the decoder is unusable
   * afterwards.
   */
  constructor(maxBytes: number, sink: (event: SseEvent) => void) {
    this.#maxBytes = maxBytes;
    this.#unfinished = new Pieces();
    this.#data = new Pieces();
    this.#sink = sink;
  }

  /** Reads a chunk, which must not be modified afterwards. */
  push(chunk: Buffer): void {
    this.feed(chunk);
    while (this.step());
  }

  /** Takes a chunk that `step` reads; the previous one must have been read. It must not be modified afterwards. */
  feed(chunk: Buffer): void {
    this.#chunk = chunk;
    this.#at = this.#skipLf && chunk[0] === LF ? 1 : 0;
    if (chunk.length > 0) this.#skipLf = false;
    this.#lf = this.#cr = -1;
  }

  /** True while a long line or event is being assembled. */
  get isLong(): boolean {
    return this.#long !== undefined;
  }

  /**
   * Reads on, at most to the end of an event and for one millisecond. Returns false when the chunk was read completely.
   */
  step(): boolean {
    const long = this.#long;
    if (long) {
      if (long.next().done && this.#long === long) this.#long = undefined;
      return true;
    }
    const chunk = this.#chunk;
    const eventsBefore = this.#events;
    let at = this.#at;
    for (let lines = 0; at < chunk.length; lines += 1) {
      if (this.#long || this.#events > eventsBefore || lines === STEP_LINES) {
        this.#at = at;
        return true;
      }
      // Each kind of line end is searched from where it was last found, never twice over the same bytes.
      if (this.#lf < at) this.#lf = placeOf(chunk, LF, at);
      if (this.#cr < at) this.#cr = placeOf(chunk, CR, at);
      const end = Math.min(this.#lf, this.#cr);
      if (end === chunk.length) break;
      this.#check(end - at);
      const isCr = end === this.#cr;
      this.#lineEnd(chunk, at, end);
      at = end + 1;
      if (!isCr) continue;
      if (at === chunk.length) this.#skipLf = true;
      else if (chunk[at] === LF) at += 1;
    }
    this.#at = chunk.length;
    this.#chunk = NOTHING;
    if (at < chunk.length) {
      this.#check(chunk.length - at);
      this.#unfinished.add(chunk.subarray(at));
    }
    return this.#long !== undefined;
  }

  #lineEnd(chunk: Buffer, at: number, end: number): void {
    const { length } = this.#unfinished;
    if (length === 0 && at === end && !this.#first) return this.#dispatch();
    const piece = chunk.subarray(at, end);
    if (length + piece.length < LARGE_BYTES) this.#line(this.#unfinished.take(piece));
    else this.#long = this.#longLine(this.#unfinished.takeSteps(piece));
  }

  *#longLine(line: Generator<void, Buffer>): Generator<void, void> {
    this.#line(yield* line);
  }

  #check(moreBytes: number): void {
    if (this.#unfinished.length + this.#data.length + this.#dataLines + moreBytes <= this.#maxBytes) return;
    throw new HubError('upstream-too-large', {
      message: `an event is larger than ${this.#maxBytes} bytes`,
      detail: { setting: 'answerBytes' },
    });
  }

  #line(raw: Buffer): void {
    let line = raw;
    if (this.#first) {
      this.#first = false;
      if (line[0] === 0xef && line[1] === 0xbb && line[2] === 0xbf) line = line.subarray(3);
    }
    if (line.length === 0) return this.#dispatch();
    const colon = line.indexOf(COLON);
    if (colon === 0) return;
    const nameEnd = colon < 0 ? line.length : colon;
    // A long field is not decoded: names, ids and retry times are short, and only data may be large.
    if (nameEnd > LONGEST_FIELD.length) return;
    const name = line.toString('latin1', 0, nameEnd);
    const value =
      colon < 0 ? line.subarray(line.length) : line.subarray(line[colon + 1] === SPACE ? colon + 2 : colon + 1);
    this.#field(name, value);
  }

  #field(name: string, value: Buffer): void {
    if (name === 'data') {
      if (this.#dataLines > 0) this.#data.add(NEWLINE);
      this.#data.add(value);
      this.#dataLines += 1;
    } else if (name === 'event') this.#event = value.toString('utf8', 0, NAME_BYTES);
    else if (name === 'id') {
      if (value.includes(0)) return;
      this.#id = value.toString('utf8', 0, ID_BYTES);
      this.#hasId = true;
    } else if (name === 'retry' && value.length < 10 && /^\d{1,9}$/.test(value.toString('latin1')))
      this.#retryMs = Number(value.toString('latin1'));
  }

  /**
   * Dispatches events without data as well when they set an id or a retry: a client that resumes the stream needs them.
   */
  #dispatch(): void {
    if (this.#dataLines === 0 && !this.#hasId && this.#retryMs === undefined) {
      this.#event = '';
      return;
    }
    const about = { event: this.#event === '' ? 'message' : this.#event, id: this.#id, retryMs: this.#retryMs };
    this.#dataLines = 0;
    this.#event = '';
    this.#hasId = false;
    this.#retryMs = undefined;
    if (this.#data.length < LARGE_BYTES) this.#give({ ...about, data: this.#data.take() });
    else this.#long = this.#longEvent(about, this.#data.takeSteps());
  }

  *#longEvent(about: Omit<SseEvent, 'data'>, data: Generator<void, Buffer>): Generator<void, void> {
    this.#give({ ...about, data: yield* data });
  }

  #give(event: SseEvent): void {
    this.#events += 1;
    this.#sink(event);
  }
}

/** Returns the next position of `byte` from `at` on, or the length of the chunk. */
function placeOf(chunk: Buffer, byte: number, at: number): number {
  const found = chunk.indexOf(byte, at);
  return found < 0 ? chunk.length : found;
}
