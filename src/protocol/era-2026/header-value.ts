/**
 * Values of the `Mcp-*` headers: plain where HTTP can carry them, else Base64 of UTF-8 between `=?base64?` and `?=`.
 * Promises: whatever `encodeHeader` writes `decodeHeader` reads back; a value that only looks like Base64 is undefined, never guessed at.
 * Source: specification 2026-07-28, transports, value encoding.
 */
const HEAD = '=?base64?';
const TAIL = '?=';
const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;

/** Undefined = it claims to be Base64 and is not, or is no UTF-8, or holds a byte that a header must not. */
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

/** Visible ASCII, spaces and tabs inside. */
const PLAIN = /^[\x21-\x7e](?:[\x20-\x7e\t]*[\x21-\x7e])?$/;

export function encodeHeader(text: string): string {
  if (PLAIN.test(text) && !(text.startsWith(HEAD) && text.endsWith(TAIL))) return text;
  return HEAD + Buffer.from(text, 'utf8').toString('base64') + TAIL;
}
