/**
 * JSON text of values that the hub writes into messages.
 * Guarantees: valid UTF-8 without lone surrogates (RFC 7493 §2.1), which a text that was cut between the halves of a pair has.
 */
import { withoutLoneSurrogates } from './_strict-string.ts';

/** Returns the JSON text of `value`, with U+FFFD in place of lone surrogates. */
export function jsonText(value: unknown): string {
  // JSON.stringify writes pairs as they are and lone halves as escapes.
  return wellFormedText(JSON.stringify(value));
}

/** The same as bytes. */
export function jsonBytes(value: unknown): Buffer {
  return Buffer.from(jsonText(value));
}

const SURROGATE = '\\ud';
const SURROGATE_UPPER = '\\uD';

/** Returns JSON text with U+FFFD in place of escapes that are half of a surrogate pair. */
export function wellFormedText(json: string): string {
  const isSuspect = json.includes(SURROGATE) || json.includes(SURROGATE_UPPER);
  return isSuspect ? withoutLoneSurrogates(Buffer.from(json)).toString('utf8') : json;
}
