/**
 * Values of HTTP headers that are sent to servers: what is not visible ASCII is encoded, never thrown over.
 * Promises: whatever the text, the result is a legal field value and nothing is thrown; ASCII text stays as it is.
 * Does not: decide which headers are sent (`upstream/transport/http/request-headers.ts`).
 */

const VISIBLE = /^[\x21-\x7e](?:[\x20-\x7e\t]*[\x21-\x7e])?$/;
const FIELD_BYTES = /^[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?$/;
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,256}$/;
/** attr-char of RFC 8187, section 3.2.1: everything else is percent-encoded. */
const ATTR_CHAR = /[A-Za-z0-9!#$&+\-.^_`|~]/;

/** A legal field value: ASCII as it is (outer white space cut off), anything else as RFC 8187 `UTF-8''…`. */
export function headerValue(text: string): string {
  const trimmed = text.trim();
  if (trimmed === '' || VISIBLE.test(trimmed)) return trimmed;
  let out = "UTF-8''";
  for (const byte of Buffer.from(trimmed, 'utf8')) {
    const letter = String.fromCharCode(byte);
    out += byte < 0x80 && ATTR_CHAR.test(letter) ? letter : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
  }
  return out;
}

/** Returns the UTF-8 bytes of a text, one character each, as a field value; undefined = it has control characters or is empty, and cannot be one. */
export function utf8Value(text: string): string | undefined {
  const bytes = Buffer.from(text, 'utf8').toString('latin1');
  return FIELD_BYTES.test(bytes) ? bytes : undefined;
}

/** True for a legal field name. */
export function isHeaderName(name: string): boolean {
  return TOKEN.test(name);
}

/** The Basic login in a URL's user and password; undefined = none. A badly encoded one is taken as it stands. */
export function basicLogin(url: URL): string | undefined {
  if (url.username === '' && url.password === '') return undefined;
  const pair = `${decoded(url.username)}:${decoded(url.password)}`;
  return `Basic ${Buffer.from(pair, 'utf8').toString('base64')}`;
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
