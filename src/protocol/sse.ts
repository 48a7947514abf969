/**
 * Server-sent events, both ways.
 * Promises: the decoder is linear, understands CR, LF and CRLF, a byte order mark, several data lines and comments, and never holds more than
 * `maxBytes` of one event; the encoder never lets a newline of the data break the framing.
 * Source: WHATWG HTML, server-sent events.
 */
import { HubError } from '../kernel/errors.ts';

const LF = 0x0a;
const CR = 0x0d;
const COLON = 0x3a;
const SPACE = 0x20;

export interface SseEvent {
  readonly event: string;
  readonly id: string | undefined;
  readonly data: Buffer;
  /** ms, when the event carried `retry`. */
  readonly retryMs: number | undefined;
}

export function sseEvent(event: {
  readonly event?: string;
  readonly id?: string;
  readonly data: Buffer;
  readonly retryMs?: number;
}): Buffer {
  let head = '';
  if (event.event !== undefined) head += `event: ${event.event}\n`;
  if (event.id !== undefined) head += `id: ${event.id}\n`;
  if (event.retryMs !== undefined) head += `retry: ${event.retryMs}\n`;
  const data =
    event.data.includes(LF) || event.data.includes(CR)
      ? Buffer.from(event.data.toString('utf8').replace(/\r\n|\r|\n/g, '\ndata: '))
      : event.data;
  return Buffer.concat([Buffer.from(`${head}data: `), data, END]);
}
const END = Buffer.from('\n\n');

export class SseDecoder {
  readonly #maxBytes: number;
  readonly #sink: (event: SseEvent) => void;
  #held: Buffer[] = []; // bounded by: maxBytes
  #heldBytes = 0;
  #data: Buffer[] = []; // bounded by: maxBytes
  #dataBytes = 0;
  #event = '';
  #id: string | undefined;
  #retryMs: number | undefined;
  #skipLf = false;
  #first = true;

  /** Throws HubError('upstream-too-large') from `push` when one event passes `maxBytes`. */
  constructor(maxBytes: number, sink: (event: SseEvent) => void) {
    this.#maxBytes = maxBytes;
    this.#sink = sink;
  }

  push(input: Buffer): void {
    let chunk = input;
    if (this.#skipLf && chunk[0] === LF) chunk = chunk.subarray(1);
    if (chunk.length > 0) this.#skipLf = false;
    let at = 0;
    while (at < chunk.length) {
      const end = lineEnd(chunk, at);
      if (end < 0) break;
      this.#line(this.#joined(chunk.subarray(at, end)));
      at = end + 1;
      if (chunk[end] === CR) {
        if (at < chunk.length && chunk[at] === LF) at += 1;
        else if (at === chunk.length) this.#skipLf = true;
      }
    }
    if (at < chunk.length) this.#hold(chunk.subarray(at));
  }

  #hold(piece: Buffer): void {
    this.#heldBytes += piece.length;
    this.#check();
    this.#held.push(piece);
  }

  #check(): void {
    if (this.#heldBytes + this.#dataBytes > this.#maxBytes) {
      throw new HubError('upstream-too-large', {
        message: `an event is larger than ${this.#maxBytes} bytes`,
        detail: { setting: 'answerBytes' },
      });
    }
  }

  #joined(last: Buffer): Buffer {
    if (this.#held.length === 0) return last;
    const line = Buffer.concat([...this.#held, last]);
    this.#held = [];
    this.#heldBytes = 0;
    return line;
  }

  #line(raw: Buffer): void {
    let line = raw;
    if (this.#first) {
      this.#first = false;
      if (line[0] === 0xef && line[1] === 0xbb && line[2] === 0xbf) line = line.subarray(3);
    }
    if (line.length === 0) {
      this.#dispatch();
      return;
    }
    const colon = line.indexOf(COLON);
    if (colon === 0) return;
    const name = line.toString('latin1', 0, colon < 0 ? line.length : colon);
    const value =
      colon < 0 ? line.subarray(line.length) : line.subarray(line[colon + 1] === SPACE ? colon + 2 : colon + 1);
    this.#field(name, value);
  }

  #field(name: string, value: Buffer): void {
    if (name === 'data') {
      this.#data.push(value);
      this.#dataBytes += value.length + 1;
      this.#check();
    } else if (name === 'event') this.#event = value.toString('utf8');
    else if (name === 'id') {
      if (!value.includes(0)) this.#id = value.toString('utf8');
    } else if (name === 'retry' && /^\d{1,9}$/.test(value.toString('latin1')))
      this.#retryMs = Number(value.toString('latin1'));
  }

  #dispatch(): void {
    const data = this.#data;
    const event: SseEvent = {
      event: this.#event === '' ? 'message' : this.#event,
      id: this.#id,
      data: joinData(data),
      retryMs: this.#retryMs,
    };
    const hasNews = data.length > 0 || this.#retryMs !== undefined;
    this.#data = [];
    this.#dataBytes = 0;
    this.#event = '';
    this.#retryMs = undefined;
    if (hasNews) this.#sink(event);
  }
}

function joinData(lines: readonly Buffer[]): Buffer {
  if (lines.length === 1) return lines[0] as Buffer;
  const pieces: Buffer[] = []; // bounded by: lines
  for (const line of lines) pieces.push(...(pieces.length > 0 ? [NEWLINE, line] : [line]));
  return Buffer.concat(pieces);
}
const NEWLINE = Buffer.from('\n');

/** The next CR or LF from `at` on, or −1. */
function lineEnd(bytes: Buffer, at: number): number {
  const lf = bytes.indexOf(LF, at);
  const cr = bytes.subarray(at, lf < 0 ? bytes.length : lf).indexOf(CR);
  return cr < 0 ? lf : at + cr;
}
