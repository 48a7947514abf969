/**
 * A request's `_meta` without what belongs to one hop only.
 * Promises: what stays keeps its bytes and its order.
 */
import { decodeString } from './_scalar.ts';
import { eachMember } from './_value.ts';
import type { Span } from './message.ts';

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
