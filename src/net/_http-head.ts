/**
 * Reads the head of an HTTP/1.1 response incrementally: status line, fields, and what they say about body and
 * connection (RFC 9112). Trailers are read by the same rules and discarded. `_http-wire.ts` reads bodies.
 * Guarantees: pure; results and errors do not depend on how the bytes were split; at most 16 KiB and 256 fields;
 * refuses folded lines, bare LF, spaces before a colon, control characters and contradicting lengths.
 */
import { HubError } from '../model/errors.ts';
import type { ResponseHeaders } from './_http-types.ts';

const MAX_HEAD_BYTES = 16 * 1024;
const MAX_FIELDS = 256;
const HEAD_END = Buffer.from('\r\n\r\n');
const STATUS_LINE = /^HTTP\/1\.([01]) ([1-9]\d\d)(?: [\t\x20-\x7e\x80-\xff]*)?$/;
const LENGTH = /^\d{1,15}$/;
const PROTOCOL = 'HTTP/1.';
/** tchar of RFC 9110, section 5.6.2. */
const TOKEN = Uint8Array.from({ length: 256 }, (_, code) =>
  /[!#$%&'*+\-.^_`|~0-9A-Za-z]/.test(String.fromCharCode(code)) ? 1 : 0,
);
const TAB = 9;
const SPACE = 32;
const COLON = 58;
const DELETE = 127;

export type BodyKind = 'none' | 'length' | 'chunked' | 'close';

export interface Framing {
  readonly kind: BodyKind;
  /** Length in bytes of a body of kind `length`. */
  readonly length: number;
  /** True when the connection can carry another request after this response. */
  readonly reusable: boolean;
}

/**
 * Returns the error for a response that is not HTTP. `reason` is a keyword for the log, `why` a sentence for people.
 */
export function malformed(reason: string, why: string): HubError {
  return new HubError('upstream-protocol', {
    message: `The server’s answer is not valid HTTP: ${why}.`,
    detail: { reason },
  });
}

/** Reads one head after another; call `begin` before each. */
export class HeadReader {
  #isTrailer = false;
  #complete = false;
  #status = 0;
  #minor = 1;
  #headers: Record<string, string | string[]> = Object.create(null);
  #fields = 0;
  /** Bytes of this head that were read. */
  #bytes = 0;
  /** The incomplete last line. */
  #rest = '';

  begin(isTrailer: boolean): void {
    this.#isTrailer = isTrailer;
    this.#complete = false;
    this.#status = 0;
    this.#headers = Object.create(null);
    this.#fields = 0;
    this.#bytes = 0;
    this.#rest = '';
  }

  get complete(): boolean {
    return this.#complete;
  }

  get status(): number {
    return this.#status;
  }

  get headers(): ResponseHeaders {
    return this.#headers;
  }

  /** Reads bytes of the head and returns the offset after them. Throws `upstream-protocol`. */
  read(buffer: Buffer, from: number, to: number): number {
    const most = Math.min(to, from + MAX_HEAD_BYTES + 1 - this.#bytes);
    // This only saves copying; the lines below decide where the head ends.
    const found = this.#rest === '' ? buffer.indexOf(HEAD_END, from) : -1;
    const end = found < 0 ? most : Math.min(most, found + HEAD_END.length);
    const text = this.#rest + buffer.toString('latin1', from, end);
    const before = this.#bytes - this.#rest.length;
    let at = 0;
    while (!this.#complete) {
      const lf = text.indexOf('\n', at);
      if (lf < 0) {
        this.#unfinished(text, at, before + text.length);
        return end;
      }
      this.#mayBegin(text, at, lf + 1);
      this.#bytes = before + lf + 1;
      if (this.#bytes > MAX_HEAD_BYTES) throw tooLarge();
      if (text.charCodeAt(lf - 1) !== 13) throw malformed('http-line', 'a line does not end with CR LF');
      this.#line(text, at, lf - 1);
      at = lf + 1;
    }
    this.#rest = '';
    return end - (text.length - at);
  }

  #unfinished(text: string, at: number, bytes: number): void {
    this.#rest = at === 0 ? text : text.slice(at);
    this.#bytes = bytes;
    this.#mayBegin(text, at, text.length);
    if (bytes > MAX_HEAD_BYTES) throw tooLarge();
  }

  /** Detects other protocols early, because their greeting may not contain an HTTP line end. */
  #mayBegin(text: string, from: number, to: number): void {
    if (this.#status !== 0 || this.#isTrailer) return;
    if (!PROTOCOL.startsWith(text.slice(from, Math.min(to, from + PROTOCOL.length)))) throw noHttp();
  }

  #line(text: string, from: number, to: number): void {
    if (this.#status === 0 && !this.#isTrailer) this.#statusLine(text.slice(from, to));
    else if (from === to) this.#complete = true;
    else this.#field(text, from, to);
  }

  #statusLine(line: string): void {
    const match = STATUS_LINE.exec(line);
    if (!match) throw noHttp();
    this.#minor = Number(match[1]);
    this.#status = Number(match[2]);
  }

  #field(text: string, from: number, to: number): void {
    this.#fields += 1;
    if (this.#fields > MAX_FIELDS) throw malformed('http-headers-many', `it has more than ${MAX_FIELDS} header fields`);
    let at = from;
    while (at < to && TOKEN[text.charCodeAt(at)] === 1) at += 1;
    if (at === from || text.charCodeAt(at) !== COLON || at >= to) throw badField();
    const name = text.slice(from, at).toLowerCase();
    at += 1;
    let end = to;
    while (at < end && isBlank(text.charCodeAt(at))) at += 1;
    while (end > at && isBlank(text.charCodeAt(end - 1))) end -= 1;
    for (let look = at; look < end; look += 1) {
      const code = text.charCodeAt(look);
      if ((code < SPACE && code !== TAB) || code === DELETE) throw badField();
    }
    this.#put(name, text.slice(at, end));
  }

  #put(name: string, value: string): void {
    const held = this.#headers[name];
    if (held === undefined) this.#headers[name] = value;
    else if (typeof held === 'string') this.#headers[name] = [held, value];
    else held.push(value);
  }

  /** Returns the framing of the body. Throws `upstream-protocol` when the head contradicts itself. */
  framing(bodiless: boolean): Framing {
    const length = lengthIn(this.#headers['content-length']);
    const coding = this.#headers['transfer-encoding'];
    // When both lengths are given, an intermediary may use the other one (RFC 9112, section 6.3).
    const reusable = this.#staysOpen() && (coding === undefined || length < 0);
    // Interim responses have no body (RFC 9110, section 15.2); a claimed one would be read as the next response.
    if (this.#status < 200 && (coding !== undefined || length > 0))
      throw malformed('http-interim', 'an interim answer claims a body');
    if (bodiless || this.#status < 200 || this.#status === 204 || this.#status === 304)
      return { kind: 'none', length: 0, reusable };
    if (coding !== undefined) {
      // Any other coding, an empty one, or one in HTTP/1.0 leaves the end of the body undefined.
      if (listOf(coding).toLowerCase() !== 'chunked' || this.#minor === 0)
        throw malformed('http-coding', 'its transfer coding is not chunked');
      return { kind: 'chunked', length: 0, reusable };
    }
    if (length >= 0) return { kind: 'length', length, reusable };
    return { kind: 'close', length: 0, reusable: false };
  }

  #staysOpen(): boolean {
    const held = this.#headers.connection;
    if (held === undefined) return this.#minor === 1;
    if (held === 'keep-alive') return true;
    const words = listOf(held)
      .toLowerCase()
      .split(',')
      .map((word) => word.trim());
    return !words.includes('close') && (this.#minor === 1 || words.includes('keep-alive'));
  }
}

function isBlank(code: number): boolean {
  return code === SPACE || code === TAB;
}

function listOf(held: string | readonly string[]): string {
  return typeof held === 'string' ? held : held.join(',');
}

/**
 * Returns the length, or −1 when the field is missing. Repeated equal lengths count once (RFC 9110, section 8.6); an
 * empty one is refused.
 */
function lengthIn(held: string | readonly string[] | undefined): number {
  if (held === undefined) return -1;
  const list = listOf(held);
  if (LENGTH.test(list)) return Number(list);
  const [first = '', ...others] = list.split(',').map((text) => text.trim());
  if (!LENGTH.test(first) || others.some((other) => other !== first))
    throw malformed('http-length', 'its length is malformed or contradicts itself');
  return Number(first);
}

function noHttp(): HubError {
  return malformed('http-status-line', 'it does not begin with an HTTP/1 status line');
}

function badField(): HubError {
  return malformed('http-header', 'a header field is malformed');
}

function tooLarge(): HubError {
  return malformed('http-headers-too-large', `its headers are larger than ${MAX_HEAD_BYTES / 1024} KiB`);
}
