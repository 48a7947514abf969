/**
 * Encodes the content of a session id as compact bytes, which `seal/` encrypts: sessions need no storage.
 * Guarantees: decoding inverts encoding; the sealed text has at most 512 characters; unknown formats decode to
 * undefined. Client names are truncated; owner and path are replaced by a digest when too long, so that two never
 * become equal.
 */
import { createHash } from 'node:crypto';

export interface SessionToken {
  /** Random, 16 bytes, hex. */
  readonly random: string;
  readonly userId: string;
  readonly family: string;
  /** View key at initialize, as returned by `sealedPath`: `all`, `group:…`, `server:…`, `groups:…`. */
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
/** Maximum bytes of each text; together with the seal they stay below 512 characters. */
const MAX_BYTES = { userId: 48, family: 48, path: 128, version: 10, clientName: 40, clientVersion: 40 } as const;
type TextField = keyof typeof MAX_BYTES;
const DIGESTED_FIELDS: ReadonlySet<TextField> = new Set<TextField>(['userId', 'family', 'path']);
const TEXT_FIELDS = Object.keys(MAX_BYTES) as TextField[];

export function encodeSessionToken(token: SessionToken): Buffer {
  const texts = TEXT_FIELDS.map((field) => {
    const text = token[field];
    return DIGESTED_FIELDS.has(field)
      ? Buffer.from(digestIfLong(text, MAX_BYTES[field]))
      : truncate(text, MAX_BYTES[field]);
  });
  const bytes = Buffer.alloc(FIXED_BYTES);
  bytes[0] = FORMAT;
  bytes.write(token.random, 1, RANDOM_BYTES, 'hex');
  bytes.writeDoubleBE(token.issuedMs, 1 + RANDOM_BYTES);
  bytes[1 + RANDOM_BYTES + 8] = token.capabilityBits & 0xff;
  return Buffer.concat([bytes, ...texts.flatMap((text) => [Buffer.from([text.length]), text])]);
}

export function decodeSessionToken(bytes: Buffer): SessionToken | undefined {
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

/** Returns the id of a user or key family as a session token contains it. */
export function sealedOwner(id: string): string {
  return digestIfLong(id, MAX_BYTES.userId);
}

/** Returns a view key as a session token contains it; compare it with `Session.path`. */
export function sealedPath(viewKey: string): string {
  return digestIfLong(viewKey, MAX_BYTES.path);
}

function digestIfLong(text: string, maxBytes: number): string {
  if (text.length * 3 <= maxBytes || Buffer.byteLength(text) <= maxBytes) return text;
  return `#${createHash('sha256').update(text).digest('base64url')}`;
}

/** Returns UTF-8 of at most `max` bytes, truncated at a character boundary. */
function truncate(text: string, max: number): Buffer {
  const bytes = Buffer.from(text, 'utf8');
  if (bytes.length <= max) return bytes;
  let end = max;
  while (end > 0 && ((bytes[end] as number) & 0xc0) === 0x80) end -= 1;
  return bytes.subarray(0, end);
}
