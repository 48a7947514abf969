/**
 * What a session id says once it is opened, as compact bytes: a legacy session is a sealed statement, not a row.
 * Promises: encoding and decoding are each other's inverse; the sealed text stays within 512 characters; unknown formats decode to undefined.
 * A client's name is cut; who the session belongs to and what it sees is never cut, for two could become one: a long one is its digest.
 */
import { createHash } from 'node:crypto';

export interface Statement {
  /** Random, 16 bytes, hex. */
  readonly random: string;
  readonly userId: string;
  readonly family: string;
  /** View key at initialize, as `sealedPath` gives it: `all`, `group:…`, `server:…`, `groups:…`. */
  readonly path: string;
  readonly version: string;
  readonly clientName: string;
  readonly clientVersion: string;
  readonly capabilityBits: number;
  /** Wall clock ms. */
  readonly issuedMs: number;
}

const FORMAT = 1;
const RANDOM_BYTES = 16;
const FIXED_BYTES = 1 + RANDOM_BYTES + 8 + 1;
/** Longest of each text in bytes; together with the seal they stay below 512 characters. */
const LONGEST = { userId: 48, family: 48, path: 128, version: 10, clientName: 40, clientVersion: 40 } as const;
type TextField = keyof typeof LONGEST;
const WHOLE: ReadonlySet<TextField> = new Set<TextField>(['userId', 'family', 'path']);
const TEXT_FIELDS = Object.keys(LONGEST) as TextField[];

export function encodeStatement(statement: Statement): Buffer {
  const texts = TEXT_FIELDS.map((field) => {
    const text = statement[field];
    return WHOLE.has(field) ? Buffer.from(whole(text, LONGEST[field])) : cut(text, LONGEST[field]);
  });
  const bytes = Buffer.alloc(FIXED_BYTES);
  bytes[0] = FORMAT;
  bytes.write(statement.random, 1, RANDOM_BYTES, 'hex');
  bytes.writeDoubleBE(statement.issuedMs, 1 + RANDOM_BYTES);
  bytes[1 + RANDOM_BYTES + 8] = statement.capabilityBits & 0xff;
  return Buffer.concat([bytes, ...texts.flatMap((text) => [Buffer.from([text.length]), text])]);
}

export function decodeStatement(bytes: Buffer): Statement | undefined {
  if (bytes.length < FIXED_BYTES || bytes[0] !== FORMAT) return undefined;
  const texts: Partial<Record<TextField, string>> = {};
  let at = FIXED_BYTES;
  for (const field of TEXT_FIELDS) {
    const length = bytes[at];
    if (length === undefined || at + 1 + length > bytes.length) return undefined;
    texts[field] = bytes.toString('utf8', at + 1, at + 1 + length);
    at += 1 + length;
  }
  return {
    ...(texts as Record<TextField, string>),
    random: bytes.toString('hex', 1, 1 + RANDOM_BYTES),
    issuedMs: bytes.readDoubleBE(1 + RANDOM_BYTES),
    capabilityBits: bytes[1 + RANDOM_BYTES + 8] as number,
  };
}

/** A user's or key family's id as a statement holds it. */
export function sealedOwner(id: string): string {
  return whole(id, LONGEST.userId);
}

/** A view key as a statement holds it: compare with `Session.path` by this. */
export function sealedPath(viewKey: string): string {
  return whole(viewKey, LONGEST.path);
}

function whole(text: string, maxBytes: number): string {
  if (text.length * 3 <= maxBytes || Buffer.byteLength(text) <= maxBytes) return text;
  return `#${createHash('sha256').update(text).digest('base64url')}`;
}

/** UTF-8 of at most `max` bytes, cut between characters. */
function cut(text: string, max: number): Buffer {
  const bytes = Buffer.from(text, 'utf8');
  if (bytes.length <= max) return bytes;
  let end = max;
  while (end > 0 && ((bytes[end] as number) & 0xc0) === 0x80) end -= 1;
  return bytes.subarray(0, end);
}
