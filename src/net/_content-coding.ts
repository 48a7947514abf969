/**
 * Reads the Content-Encoding of a response, and from the beginning of the body the window size that decoding needs (RFC
 * 9110, section 8.4).
 * Guarantees: pure; plain text that is wrongly declared as compressed is recognised by its first bytes.
 */
import type { ResponseHeaders } from './_http-types.ts';
import { frameStart } from './_zstd-frames.ts';

export type ContentCoding = 'gzip' | 'deflate' | 'br' | 'zstd';

/** Largest window that is decoded: 8 MiB. */
export const MAX_WINDOW_BITS = 23;
/** Most memory that zlib needs, including its own state. */
const ZLIB_WINDOW_BYTES = 64 * 1024;
const MIN_ZSTD_BITS = 10;

const CODINGS: ReadonlyMap<string, ContentCoding> = new Map([
  ['gzip', 'gzip'],
  ['x-gzip', 'gzip'],
  ['deflate', 'deflate'],
  ['br', 'br'],
  ['zstd', 'zstd'],
]); // bounded by: this literal
/** Character sets and transfer encodings that servers write into this field; they have no effect. */
// bounded by: this literal
const NO_CODINGS = new Set(['', 'identity', 'none', 'utf-8', 'utf8', 'us-ascii', 'binary', '7bit', '8bit']);

/**
 * Returns the coding that the field names; `none` when there is none; undefined for several codings or an unsupported
 * one.
 */
export function contentCoding(field: string | readonly string[]): ContentCoding | 'none' | undefined {
  const names = (typeof field === 'string' ? field : field.join(',')).toLowerCase().split(',');
  const codings = names.map((name) => name.trim()).filter((name) => !NO_CODINGS.has(name));
  if (codings.length === 0) return 'none';
  return codings.length === 1 ? CODINGS.get(codings[0] as string) : undefined;
}

/** Returns the headers of a decoded body, without its coding and its length. */
export function decodedHeaders(headers: ResponseHeaders): ResponseHeaders {
  const { 'content-encoding': _coding, 'content-length': _length, ...others } = headers;
  return others;
}

/** How a body is decoded; `plain` when it is not compressed, whatever its header says. */
export type BodyCoding = { readonly kind: 'plain' } | Coded;

/** `bits`: window size; `bytes`: most memory that decoding needs. */
export interface Coded {
  readonly kind: 'coded';
  readonly engine: ContentCoding | 'raw';
  readonly bits: number;
  readonly bytes: number;
}

/**
 * Matches the beginning of JSON (`{` or `[` and a possible next character) or of an event stream. A single `{` does not
 * suffice: it also begins an empty Brotli stream.
 */
const TEXT = /^(?:\xef\xbb\xbf)?\s*(?:[{[]\s*["{}[\]]|:|data:|event:|id:|retry:)/;
const MAGIC = { gzip: [0x1f, 0x8b], zstd: [0x28, 0xb5, 0x2f, 0xfd] } as const;
/** Bytes after which the beginning of a body tells nothing more. */
const ENOUGH_BYTES = 18;

/**
 * Returns how to decode a body that begins with `first`, or undefined when more bytes are needed. `isWhole` is true
 * when there are no more.
 * Sources: RFC 1952, RFC 1950, RFC 7932 section 9.1, RFC 8878 section 3.1.1.
 */
export function bodyCoding(coding: ContentCoding, first: Buffer, isWhole: boolean): BodyCoding | undefined {
  const isShort = !isWhole && first.length < ENOUGH_BYTES;
  if (coding === 'gzip' && begins(first, MAGIC.gzip)) return zlib('gzip');
  if (coding === 'zstd' && begins(first, MAGIC.zstd)) {
    const windowBytes = zstdWindow(first);
    return windowBytes === undefined && isShort ? undefined : zstdCoding(windowBytes);
  }
  if (isShort && maybeText(first)) return undefined;
  if (TEXT.test(first.toString('latin1', 0, ENOUGH_BYTES))) return { kind: 'plain' };
  if (coding === 'br') return coded('br', brotliBits(first[0] ?? 0));
  if (coding === 'zstd') return coded('zstd', MAX_WINDOW_BITS);
  if (coding === 'gzip') return zlib('gzip');
  if (first.length < 2 && !isWhole) return undefined;
  return zlib(hasZlibHeader(first) ? 'deflate' : 'raw');
}

/**
 * Returns how to decode the next frame of a Zstandard body that begins with `first`, or undefined when more bytes are
 * needed.
 */
export function nextFrameCoding(first: Buffer, isWhole: boolean): Coded | undefined {
  if (frameStart(first) === 'skippable') return coded('zstd', MIN_ZSTD_BITS);
  const windowBytes = zstdWindow(first);
  return windowBytes === undefined && !isWhole && first.length < ENOUGH_BYTES ? undefined : zstdCoding(windowBytes);
}

function zstdCoding(windowBytes: number | undefined): Coded {
  return coded('zstd', Math.max(MIN_ZSTD_BITS, windowBytes ? Math.ceil(Math.log2(windowBytes)) : MAX_WINDOW_BITS));
}

function begins(first: Buffer, magic: readonly number[]): boolean {
  return magic.every((byte, at) => first[at] === byte);
}

/** Returns true when `first` is white space, or begins with a byte that `TEXT` accepts. */
function maybeText(first: Buffer): boolean {
  return first.length === 0 || /^[\s\xef{[:deir]/.test(first.toString('latin1', 0, 1));
}

function zlib(engine: 'gzip' | 'deflate' | 'raw'): Coded {
  return { kind: 'coded', engine, bits: 15, bytes: ZLIB_WINDOW_BYTES };
}

function coded(engine: 'br' | 'zstd', bits: number): Coded {
  return { kind: 'coded', engine, bits, bytes: 2 ** bits + ZLIB_WINDOW_BYTES };
}

function hasZlibHeader(first: Buffer): boolean {
  const [method = 0, flags = 0] = first;
  return (method & 0x0f) === 8 && ((method << 8) | flags) % 31 === 0;
}

/** Returns WBITS of a Brotli stream. */
function brotliBits(byte: number): number {
  if ((byte & 1) === 0) return 16;
  const high = (byte >> 1) & 7;
  if (high > 0) return 17 + high;
  const low = (byte >> 4) & 7;
  return low === 0 ? 17 : 8 + low;
}

/** Returns Window_Size of a Zstandard frame, or undefined when its header is incomplete. */
function zstdWindow(first: Buffer): number | undefined {
  const descriptor = first[4];
  if (descriptor === undefined) return undefined;
  const isSingleSegment = (descriptor & 0x20) !== 0;
  if (!isSingleSegment) {
    const window = first[5];
    if (window === undefined) return undefined;
    const base = 2 ** (10 + (window >> 3));
    return base + (base / 8) * (window & 7);
  }
  const at = 5 + ([0, 1, 2, 4][descriptor & 3] as number);
  const width = [1, 2, 4, 8][descriptor >> 6] as number;
  if (first.length < at + width) return undefined;
  if (width === 8) return Number(first.readBigUInt64LE(at));
  return first.readUIntLE(at, width) + (width === 2 ? 256 : 0);
}
