/**
 * Encodes values for HTTP headers that are sent to servers.
 * Guarantees: the result is a valid field value for any text; nothing is thrown; ASCII text stays unchanged.
 */

const VISIBLE = /^[\x21-\x7e](?:[\x20-\x7e\t]*[\x21-\x7e])?$/;
const FIELD_BYTES = /^[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?$/;
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,256}$/;
/** attr-char of RFC 8187, section 3.2.1: everything else is percent-encoded. */
const ATTR_CHAR = /[A-Za-z0-9!#$&+\-.^_`|~]/;

/** Returns a valid field value: ASCII trimmed but otherwise unchanged, anything else as RFC 8187 `UTF-8''…`. */
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

/**
 * Returns the UTF-8 bytes of a text, one character each, as a field value; undefined when the text is empty or has
 * control characters.
 */
export function utf8Value(text: string): string | undefined {
  const bytes = Buffer.from(text, 'utf8').toString('latin1');
  return FIELD_BYTES.test(bytes) ? bytes : undefined;
}

/** Returns true for a valid field name. */
export function isHeaderName(name: string): boolean {
  return TOKEN.test(name);
}

/**
 * Returns the Basic credentials in a URL's user and password, or undefined when there are none. Invalid
 * percent-encoding is used unchanged.
 */
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
