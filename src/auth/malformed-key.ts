/**
 * Explains what is wrong with an Authorization header that does not contain a well-formed key. The explanation never
 * repeats any part of the header.
 */

const PREFIX = 'mcphub_';
const DIGITS = 64;
const EXPECTED = `Expected: "Bearer ${PREFIX}<${DIGITS} hex digits>".`;
const QUOTES = '"\'`“”‘’';
const PLACEHOLDERS = [
  '${',
  '{{',
  '<',
  '>',
  '…',
  '...',
  '%',
  '$',
  '*',
  'your',
  'key_here',
  'xxx',
  'placeholder',
  'changeme',
];

/** Returns a sentence that tells what is wrong with the header and what is expected. */
export function describeMalformedKey(authorization: string): string {
  return `${faultIn(authorization)} ${EXPECTED}`;
}

function faultIn(authorization: string): string {
  const header = authorization.trim();
  const lower = header.toLowerCase();
  if (header === '' || lower === 'bearer') return 'The Authorization header has no key.';
  if (!lower.startsWith('bearer')) return faultInScheme(lower);
  return faultInKey(header.slice('bearer'.length).trim());
}

function faultInScheme(lower: string): string {
  if (lower.startsWith(PREFIX)) return 'The Authorization header has a key without the word "Bearer" before it.';
  if (QUOTES.includes(lower.charAt(0))) return 'The Authorization header is in quotation marks.';
  if (isPlaceholder(lower)) return 'The Authorization header is a placeholder that was not filled in.';
  return 'The Authorization header does not begin with "Bearer".';
}

function faultInKey(key: string): string {
  const lower = key.toLowerCase();
  if (lower.startsWith('bearer')) return 'The Authorization header contains the word "Bearer" twice.';
  if (lower.includes('bearer')) return 'There are several Authorization headers.';
  if (QUOTES.includes(key.charAt(0)) || QUOTES.includes(key.slice(-1))) return 'The key is in quotation marks.';
  if (isPlaceholder(lower)) return 'The key is a placeholder that was not filled in.';
  if (/\s/.test(key)) return 'The key contains white space.';
  if (!lower.startsWith(PREFIX))
    return isHex(lower) && lower.length === DIGITS
      ? `The key lacks its beginning "${PREFIX}".`
      : `The key does not begin with "${PREFIX}"; it may belong to another service.`;
  const digits = lower.slice(PREFIX.length);
  if (digits.startsWith(PREFIX)) return `The key contains "${PREFIX}" twice.`;
  if (!isHex(digits)) return 'The key contains a character that is not a hex digit (0-9, a-f).';
  return `The key has ${digits.length} hex digits instead of ${DIGITS}.`;
}

function isPlaceholder(lower: string): boolean {
  return PLACEHOLDERS.some((part) => lower.includes(part));
}

function isHex(text: string): boolean {
  return /^[0-9a-f]*$/.test(text);
}
