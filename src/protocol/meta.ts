/**
 * An object without some of its members.
 * Promises: what stays keeps its bytes and its order.
 */
import { decodeString } from './_scalar.ts';
import { eachMember } from './_value.ts';
import type { Span } from './message.ts';
import { memberSpan } from './scan.ts';
import { replaceSpans } from './write.ts';

const LOOSE = { maxDepth: 4096, strict: false } as const;

/** The object at `meta` (text that has been scanned) without the members whose name begins with `prefix`. */
export function withoutPrefix(bytes: Buffer, meta: Span, prefix: string): Buffer {
  const kept: Buffer[] = []; // bounded by: the members of one message
  eachMember(bytes, meta.at, meta.end, LOOSE, {
    member(keyAt, keyEnd, _at, end) {
      // However it is spelled: an escaped letter means the same to whoever reads it.
      if (!decodeString(bytes, keyAt, keyEnd)?.startsWith(prefix))
        kept.push(Buffer.from(kept.length === 0 ? '{' : ','), bytes.subarray(keyAt, end));
      return true;
    },
  });
  return Buffer.concat([...(kept.length === 0 ? [Buffer.from('{')] : kept), Buffer.from('}')]);
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
