/**
 * Cuts long texts at a character boundary, with an ellipsis.
 * Promises: the result is at most `maxBytes` of UTF-8; no half characters, no half escapes; a long JSON string is not parsed whole.
 */
const ELLIPSIS = '…';
const ELLIPSIS_BYTES = 3;

/** The text, or its beginning and an ellipsis. */
export function cutText(text: string, maxBytes: number): string {
  // A UTF-16 unit is at most 3 bytes of UTF-8.
  if (text.length * 3 <= maxBytes || Buffer.byteLength(text) <= maxBytes) return text;
  const bytes = Buffer.from(text.slice(0, maxBytes));
  let end = Math.max(maxBytes - ELLIPSIS_BYTES, 0);
  while (end > 0 && isContinuation(bytes[end])) end -= 1;
  return bytes.toString('utf8', 0, end) + ELLIPSIS;
}

/**
 * New JSON text for a JSON string (quotes included in `json`) that is longer than `maxBytes` when decoded; undefined = short enough,
 * or broken (the parser will say so).
 */
export function cutJsonString(json: Buffer, maxBytes: number): string | undefined {
  // An escape is never shorter than what it stands for.
  if (json.length - 2 <= maxBytes) return undefined;
  // Six bytes (\u0041) may stand for one: this much decodes to more than `maxBytes`, even when its last character is left out.
  const enough = 1 + (maxBytes + 3) * 6;
  const text = decode(
    json.toString('utf8', 1, enough < json.length - 1 ? wholeCharacters(json, enough) : json.length - 1),
  );
  if (text === undefined) return undefined;
  const cut = cutText(text, maxBytes);
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

/** The last place at or before `end` where neither a UTF-8 character nor an escape is cut in two. */
function wholeCharacters(json: Buffer, end: number): number {
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

/** True when the backslash at `at` is not itself escaped. */
function startsEscape(json: Buffer, at: number): boolean {
  let slashes = 0;
  while (at - 1 - slashes >= 1 && json[at - 1 - slashes] === 0x5c) slashes += 1;
  return slashes % 2 === 0;
}

function isContinuation(byte: number | undefined): boolean {
  return byte !== undefined && (byte & 0xc0) === 0x80;
}
