/**
 * JSON text of values that the hub writes into messages.
 * Guarantees: valid UTF-8 without lone surrogates (RFC 7493 §2.1), which a text that was cut between the halves of a pair has.
 */
import { withoutLoneSurrogates } from './_strict-string.ts';

/** Returns the JSON text of `value`, with U+FFFD in place of lone surrogates. */
export function jsonText(value: unknown): string {
  const text = JSON.stringify(value);
  // JSON.stringify writes pairs as they are and lone halves as escapes.
  return text.includes(SURROGATE) ? withoutLoneSurrogates(Buffer.from(text)).toString('utf8') : text;
}

/** The same as bytes. */
export function jsonBytes(value: unknown): Buffer {
  return Buffer.from(jsonText(value));
}

const SURROGATE = '\\ud';
