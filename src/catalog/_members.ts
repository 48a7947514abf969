/**
 * Locates the members of a JSON object in its bytes, so that an item can be checked, repaired or renamed without being
 * rewritten.
 * Guarantees: linear in the bytes; too deep nesting ends the scan before anything is parsed. Values are not validated:
 * callers parse the spans that they need.
 */
import {
  type ByteSpan,
  CLOSE_OBJECT,
  COMMA,
  decodeString,
  endOfValue,
  OPEN_OBJECT,
  QUOTE,
  type ScanLimits,
  skipSpace,
  stringEnd,
  TOO_DEEP,
  TOO_LARGE,
} from './_json-bytes.ts';

/** `at` and `end` (exclusive) delimit the value; `keyAt` is the opening quote of the key. */
export interface Member {
  readonly key: string;
  readonly keyAt: number;
  readonly at: number;
  readonly end: number;
}

export interface Scan {
  /** Members in order; those before the fault when there is one. */
  readonly members: readonly Member[];
  /** Why the object is invalid, as the end of a sentence that begins with its name. */
  readonly fault: string | undefined;
}

/** Limits for text that was scanned before. */
export const RESCAN_LIMITS: ScanLimits = { depth: 10_000, valueBytes: 2 ** 40, members: 2 ** 30 };
const COLON = 0x3a;

/** Scans the object that fills the span. */
export function scanMembers(piece: ByteSpan, ceilings: ScanLimits): Scan {
  const members: Member[] = [];
  return { members, fault: collect(piece, ceilings, members) };
}

const NO_OBJECT = 'is not a JSON object';
const TOO_MANY_MEMBERS = 'has too many members';
const DUPLICATE_KEY = 'has the same key twice';

function collect(piece: ByteSpan, ceilings: ScanLimits, members: Member[]): string | undefined {
  const { bytes, end } = piece;
  const seen = new Set<string>();
  let at = skipSpace(bytes, piece.at, end);
  if (bytes[at] !== OPEN_OBJECT) return NO_OBJECT;
  at = skipSpace(bytes, at + 1, end);
  if (at < end && bytes[at] === CLOSE_OBJECT) return isEnd(bytes, at + 1, end) ? undefined : NO_OBJECT;
  for (;;) {
    const member = scanMember({ bytes, at, end }, ceilings);
    if (typeof member === 'string') return member;
    if (seen.has(member.key)) return DUPLICATE_KEY;
    if (members.length >= ceilings.members) return TOO_MANY_MEMBERS;
    seen.add(member.key);
    members.push(member);
    at = skipSpace(bytes, member.end, end);
    const after = at < end ? bytes[at] : undefined;
    if (after === CLOSE_OBJECT) return isEnd(bytes, at + 1, end) ? undefined : NO_OBJECT;
    if (after !== COMMA) return NO_OBJECT;
    at = skipSpace(bytes, at + 1, end);
  }
}

function scanMember({ bytes, at: keyAt, end }: ByteSpan, ceilings: ScanLimits): Member | string {
  if (keyAt >= end || bytes[keyAt] !== QUOTE) return NO_OBJECT;
  const keyEnd = stringEnd(bytes, keyAt, end);
  const key = keyEnd < 0 ? undefined : decodeString(bytes, keyAt, keyEnd);
  if (key === undefined) return NO_OBJECT;
  const colon = skipSpace(bytes, keyEnd, end);
  if (colon >= end || bytes[colon] !== COLON) return NO_OBJECT;
  const at = skipSpace(bytes, colon + 1, end);
  const valueEnd = endOfValue({ bytes, at, end }, ceilings);
  if (valueEnd === TOO_DEEP) return `is nested deeper than ${ceilings.depth} levels (bodyDepth)`;
  if (valueEnd === TOO_LARGE) return `has a value of more than ${ceilings.valueBytes} bytes: ${key.slice(0, 40)}`;
  return valueEnd < 0 ? NO_OBJECT : { key, keyAt, at, end: valueEnd };
}

/** Returns the object's text with values replaced, removed (`undefined`) or, for new keys, appended. */
export function rebuild(
  bytes: Buffer,
  members: readonly Member[],
  changes: ReadonlyMap<string, string | undefined>,
): string {
  const parts: string[] = [];
  for (const member of members) {
    if (!changes.has(member.key)) parts.push(bytes.toString('utf8', member.keyAt, member.end));
    else {
      const value = changes.get(member.key);
      if (value !== undefined) parts.push(`${JSON.stringify(member.key)}:${value}`);
    }
  }
  for (const [key, value] of changes) {
    if (value !== undefined && !members.some((member) => member.key === key))
      parts.push(`${JSON.stringify(key)}:${value}`);
  }
  return `{${parts.join(',')}}`;
}

function isEnd(bytes: Buffer, at: number, end: number): boolean {
  return skipSpace(bytes, at, end) === end;
}
