/**
 * An object without some of its members.
 * Promises: what stays keeps its bytes and its order.
 */
import { keyBegins, keyIs } from './_scalar.ts';
import { eachMember } from './_value.ts';
import type { Span } from './message.ts';

const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;
const COMMA = 0x2c;
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

/** An ASCII letter that is written as an escape: a key may be spelled so. */
const ESCAPED_ASCII = '\\u00';

/** Whether the object may have the member `key`; false is certain, and costs no walk. */
function mayHave(json: Buffer, key: string): boolean {
  return json.includes(`"${key}"`) || json.includes(ESCAPED_ASCII);
}

/** The object `json` without its members of these names, however they are spelled. What is no object stays as it is. */
export function withoutMembers(json: Buffer, keys: readonly string[]): Buffer {
  if (!keys.some((key) => mayHave(json, key))) return json;
  const runs: Buffer[] = []; // bounded by: two for each member taken out
  let from = -1;
  let to = -1;
  const endRun = (): void => {
    if (from >= 0) runs.push(Buffer.from(runs.length === 0 ? '{' : ','), json.subarray(from, to));
    from = -1;
  };
  let removed = 0;
  eachMember(json, 0, json.length, LOOSE, {
    member(keyAt, keyEnd, _at, end) {
      if (keys.some((key) => keyIs(json, keyAt, keyEnd, key))) {
        endRun();
        removed += 1;
      } else {
        if (from < 0) from = keyAt;
        to = end;
      }
      return true;
    },
  });
  if (removed === 0) return json;
  endRun();
  return Buffer.concat([...(runs.length === 0 ? [Buffer.from('{')] : runs), Buffer.from('}')]);
}
