/**
 * A member by which the hub decides something and which a client reads as well: when it stands there twice the two may see different values, and
 * it counts as missing.
 */
import { keyIs } from './_scalar.ts';
import { eachMember } from './_value.ts';
import type { WalkedValues } from './_walked-values.ts';
import { ABSENT, type Span } from './message.ts';

/** For text that has been scanned. */
const LOOSE = { maxDepth: 4096, strict: false } as const;

/**
 * Returns where the value of `key` (ASCII) lies in the object at `object` (text that has been scanned); ABSENT when it is not there, or twice.
 * Walks over the whole object, but for what was `walked` over.
 */
export function soleMember(bytes: Buffer, object: Span, key: string, walked?: WalkedValues): Span {
  let found: Span = ABSENT;
  let isTwice = false;
  if (object.at < 0) return found;
  eachMember(
    bytes,
    object.at,
    object.end,
    { ...LOOSE, walked },
    {
      member(keyAt, keyEnd, at, end) {
        if (!keyIs(bytes, keyAt, keyEnd, key)) return true;
        isTwice = found !== ABSENT;
        found = { at, end };
        return !isTwice;
      },
    },
  );
  return isTwice ? ABSENT : found;
}
