/**
 * Encodes values of the `Mcp-*` headers: plain where HTTP allows it, otherwise Base64 of UTF-8 between `=?base64?` and
 * `?=`.
 * Guarantees: `decodeHeader` reverses `encodeHeader`; a value that only looks like Base64 is undefined.
 * Source: specification 2026-07-28, transports, value encoding.
 */
const HEAD = '=?base64?';
const TAIL = '?=';
const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;

/**
 * Returns the text of a header value. Returns undefined when it is marked as Base64 and is not, is not UTF-8, or
 * contains a byte that a header must not contain.
 */
export function decodeHeader(value: string): string | undefined {
  if (!value.startsWith(HEAD) || !value.endsWith(TAIL)) return /^[\x20-\x7e\t]*$/.test(value) ? value : undefined;
  const body = value.slice(HEAD.length, -TAIL.length);
  if (!BASE64.test(body)) return undefined;
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(Buffer.from(body, 'base64'));
  } catch {
    return undefined;
  }
}

/** Visible ASCII, with spaces and tabs inside. */
const PLAIN = /^[\x21-\x7e](?:[\x20-\x7e\t]*[\x21-\x7e])?$/;

export function encodeHeader(text: string): string {
  if (PLAIN.test(text) && !(text.startsWith(HEAD) && text.endsWith(TAIL))) return text;
  return HEAD + Buffer.from(text, 'utf8').toString('base64') + TAIL;
}
