/**
 * Limits the size of a server's own error: complete up to `ERROR_BYTES`, otherwise its code and the beginning of its
 * message.
 */
import type { WalkedValues } from './_walked-values.ts';
import { jsonBytes } from './json-text.ts';
import type { Span } from './message.ts';
import { stringAt } from './scan.ts';
import { soleMember } from './sole-member.ts';

/** Largest JSON-RPC error of a server that its caller gets, in bytes. */
export const ERROR_BYTES = 65_536;
const CHARS = 4096;
const INTERNAL_ERROR = -32603;

/**
 * Returns the error at `span` (text that was scanned before). With the recorded values `walked` of `bytes` this takes
 * almost no time.
 */
export function shortenedError(bytes: Buffer, span: Span, walked?: WalkedValues): Buffer {
  const length = span.end - span.at;
  if (length <= ERROR_BYTES) return bytes.subarray(span.at, span.end);
  const given = soleMember(bytes, span, 'code', walked);
  const code = given.at < 0 ? Number.NaN : Number(bytes.toString('latin1', given.at, given.end));
  const message = stringAt(bytes, soleMember(bytes, span, 'message', walked), ERROR_BYTES) ?? '';
  const shown = { code: Number.isInteger(code) ? code : INTERNAL_ERROR, message: `${message.slice(0, CHARS)}…` };
  return jsonBytes({ ...shown, data: { cut: true, bytes: length } });
}
