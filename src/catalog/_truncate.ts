/**
 * Truncates long texts at a character boundary and appends an ellipsis.
 * Guarantees: the result has at most `maxBytes` of UTF-8, no partial characters or escapes; a long JSON string is not
 * parsed as a whole.
 */
const ELLIPSIS = '…';
const ELLIPSIS_BYTES = 3;

/** Returns the text, or its beginning with an ellipsis. */
export function truncateText(text: string, maxBytes: number): string {
  // A UTF-16 unit is at most 3 bytes of UTF-8.
  if (text.length * 3 <= maxBytes || Buffer.byteLength(text) <= maxBytes) return text;
  const bytes = Buffer.from(text.slice(0, maxBytes));
  let end = Math.max(maxBytes - ELLIPSIS_BYTES, 0);
  while (end > 0 && isContinuation(bytes[end])) end -= 1;
  return bytes.toString('utf8', 0, end) + ELLIPSIS;
}

/**
 * Returns new JSON text for a JSON string (`json` includes the quotes) whose decoded text exceeds `maxBytes`;
 * undefined = short enough, or invalid (the parser reports that).
 */
export function truncateJsonString(json: Buffer, maxBytes: number): string | undefined {
  // An escape is never shorter than the character it encodes.
  if (json.length - 2 <= maxBytes) return undefined;
  // A byte may be written as six (\u0041): this many bytes decode to more than `maxBytes`, even without the last
  // character.
  const enough = 1 + (maxBytes + 3) * 6;
  const text = decode(
    json.toString('utf8', 1, enough < json.length - 1 ? characterBoundary(json, enough) : json.length - 1),
  );
  if (text === undefined) return undefined;
  const cut = truncateText(text, maxBytes);
  return cut === text ? undefined : JSON.stringify(cut);
}

function decode(inside: string): string | undefined {
  try {
    const value: unknown = JSON.parse(`"${inside}"`);
    return typeof value === 'string' ? value : undefined;
  } catch {
    return undefined;
  }
}

/** Returns the last index at or before `end` that splits neither a UTF-8 character nor an escape. */
function characterBoundary(json: Buffer, end: number): number {
  let at = end;
  while (at > 1 && isContinuation(json[at])) at -= 1;
  for (let slash = Math.max(at - 5, 1); slash < at; slash += 1) {
    if (json[slash] !== 0x5c || !startsEscape(json, slash)) continue;
    const length = json[slash + 1] === 0x75 ? 6 : 2;
    if (slash + length > at) return slash;
    slash += length - 1;
  }
  return at;
}

/** Returns whether the backslash at `at` is not itself escaped. */
function startsEscape(json: Buffer, at: number): boolean {
  let slashes = 0;
  while (at - 1 - slashes >= 1 && json[at - 1 - slashes] === 0x5c) slashes += 1;
  return slashes % 2 === 0;
}

function isContinuation(byte: number | undefined): boolean {
  return byte !== undefined && (byte & 0xc0) === 0x80;
}
