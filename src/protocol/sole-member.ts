/**
 * Finds a member on which the hub bases a decision and which a client reads as well. When it occurs twice, the two may
 * see different values; it counts as missing then.
 */
import { keyIs } from './_scalar.ts';
import { eachMember } from './_value.ts';
import type { WalkedValues } from './_walked-values.ts';
import { ABSENT, type Span } from './message.ts';

/** Options for text that was scanned before. */
const LOOSE = { maxDepth: 4096, strict: false } as const;

/**
 * Returns the span of the value of `key` (ASCII) in the object at `object` (text that was scanned before); ABSENT when
 * it is missing or occurs twice. Walks over the whole object, except for the values in `walked`.
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
