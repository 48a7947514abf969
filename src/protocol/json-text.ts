/**
 * Serialises values that the hub writes into messages.
 * Guarantees: valid UTF-8 without lone surrogates (RFC 7493 §2.1); a text that was cut between the halves of a pair
 * contains one.
 */
import { withoutLoneSurrogates } from './_strict-string.ts';

/** Returns the JSON text of `value`, with U+FFFD in place of lone surrogates. */
export function jsonText(value: unknown): string {
  // JSON.stringify writes pairs literally and lone surrogates as escapes.
  return wellFormedText(JSON.stringify(value));
}

/** Returns the same text as bytes. */
export function jsonBytes(value: unknown): Buffer {
  return Buffer.from(jsonText(value));
}

const SURROGATE = '\\ud';
const SURROGATE_UPPER = '\\uD';

/** Returns JSON text with U+FFFD in place of lone surrogate escapes. */
export function wellFormedText(json: string): string {
  const isSuspect = json.includes(SURROGATE) || json.includes(SURROGATE_UPPER);
  return isSuspect ? withoutLoneSurrogates(Buffer.from(json)).toString('utf8') : json;
}
