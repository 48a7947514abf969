/**
 * Removes members from objects.
 * Guarantees: the remaining members keep their bytes and their order.
 */
import { keyBegins, keyIs } from './_scalar.ts';
import { eachMember } from './_value.ts';
import type { Span } from './message.ts';

const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;
const COMMA = 0x2c;
const LOOSE = { maxDepth: 4096, strict: false } as const;

/**
 * Returns the object at `meta` (text that was scanned before) without the members whose name begins with `prefix`
 * (ASCII), in any escaped spelling. Allocates one buffer, whatever the number of members.
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

/** The beginning of an escaped ASCII letter, which a key may contain. */
const ESCAPED_ASCII = '\\u00';

/** Returns false when the object certainly has no member `key`; needs no walk. */
function mayHave(json: Buffer, key: string): boolean {
  return json.includes(`"${key}"`) || json.includes(ESCAPED_ASCII);
}

/** Returns the object `json` without the members of these names, in any spelling. Returns other values unchanged. */
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
