/**
 * Prepares the reading of messages of several megabytes, in steps of a few milliseconds, so that the event loop can run
 * between them.
 */
import { type AheadSizes, walkAhead } from './_ahead.ts';
import { skipSpace } from './_scalar.ts';
import { skipValue } from './_value.ts';
import type { WalkedValues } from './_walked-values.ts';
import { batchWalk, budgetOf, firstByte, isBatch, type ScanOptions } from './scan.ts';

/**
 * Walks over a long message or batch in steps of a few milliseconds, before `scanEnvelope` or `batchSpans` reads it.
 */
export function* walkMessage(bytes: Buffer, options: ScanOptions, sizes?: AheadSizes): Generator<void, WalkedValues> {
  const { maxDepth, strict } = options;
  const walk = isBatch(bytes) ? batchWalk(options) : { maxDepth, strict, budget: budgetOf(options) };
  return yield* walkAhead(bytes, firstByte(bytes), walk, sizes);
}

/** Longer messages are walked over in steps before they are read. */
export const LARGE_BYTES = 256 * 1024;
/** Bytes of white space that are skipped in one step. */
const BLANK_BYTES = 256 * 1024;

/** Returns the text without a byte order mark and surrounding white space, in steps of a few milliseconds. */
export function* trimSteps(bytes: Buffer): Generator<void, Buffer> {
  let at = bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf ? 3 : 0;
  for (let stop = 0; at === stop || stop === 0; ) {
    if (stop > 0) yield;
    stop = Math.min(bytes.length, at + BLANK_BYTES);
    at = skipSpace(bytes, at, stop);
    if (at === bytes.length) break;
  }
  let end = bytes.length;
  for (let steps = 1; end > at && isSpace(bytes[end - 1]); steps += 1) {
    end -= 1;
    if (steps % BLANK_BYTES === 0) yield;
  }
  return bytes.subarray(at, end);
}

function isSpace(byte: number | undefined): boolean {
  return byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09;
}

/**
 * Returns the end of the JSON value at the beginning of `bytes`, or a negative number when there is none; works in
 * steps. Strings are not inspected.
 */
export function* valueEnd(bytes: Buffer): Generator<void, number> {
  const walk = { maxDepth: 65_536, strict: false };
  if (bytes.length < LARGE_BYTES) return skipValue(bytes, 0, bytes.length, walk);
  return (yield* walkAhead(bytes, 0, walk)).end;
}
