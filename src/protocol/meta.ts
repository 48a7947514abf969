/**
 * An object without some of its members.
 * Promises: what stays keeps its bytes and its order.
 */
import { keyBegins } from './_scalar.ts';
import { eachMember } from './_value.ts';
import type { Span } from './message.ts';
import { memberSpan } from './scan.ts';
import { replaceSpans } from './write.ts';

const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;
const LOOSE = { maxDepth: 4096, strict: false } as const;

/**
 * The object at `meta` (text that has been scanned) without the members whose name begins with `prefix` (ASCII), however that is spelled: an
 * escaped letter means the same to whoever reads it. Allocates one buffer, whatever the number of members.
 */
export function withoutPrefix(bytes: Buffer, meta: Span, prefix: string): Buffer {
  const text = Buffer.allocUnsafe(Math.max(2, meta.end - meta.at));
  let size = 0;
  let from = -1;
  let to = -1;
  const keep = (): void => {
    if (from < 0) return;
    text[size] = size === 0 ? OPEN_OBJECT : COMMA;
    size += 1 + bytes.copy(text, size + 1, from, to);
    from = -1;
  };
  eachMember(bytes, meta.at, meta.end, LOOSE, {
    member(keyAt, keyEnd, _at, end) {
      if (keyBegins(bytes, keyAt, keyEnd, prefix) >= 0) keep();
      else {
        if (from < 0) from = keyAt;
        to = end;
      }
      return true;
    },
  });
  keep();
  if (size === 0) return Buffer.from('{}');
  text[size] = CLOSE_OBJECT;
  return text.subarray(0, size + 1);
}

const COMMA = 0x2c;

/** The object `json` without the member `key`, and without one of the commas beside it. */
export function withoutMember(json: Buffer, key: string): Buffer {
  if (!json.includes(`"${key}"`)) return json;
  const value = memberSpan(json, { at: 0, end: json.length }, key);
  if (value.at < 0) return json;
  const at = json.lastIndexOf(`"${key}"`, value.at);
  let from = at;
  let { end } = value;
  while (isSpace(json[from - 1])) from -= 1;
  if (json[from - 1] === COMMA) from -= 1;
  else {
    from = at;
    while (isSpace(json[end])) end += 1;
    if (json[end] === COMMA) end += 1;
  }
  return replaceSpans(json, [{ at: from, end, with: Buffer.alloc(0) }]);
}

function isSpace(byte: number | undefined): boolean {
  return byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09;
}
