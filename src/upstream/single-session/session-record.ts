/**
 * What a file of `session-memory.ts` says about a session: enough to end it, and to go on in it where its server cannot be told to end it.
 * Guarantees: what is read is fit for headers and for the pipeline, whoever wrote the file.
 */
import type { InitializeResult } from '../../protocol/era-2025/initialize.ts';
import { isVersion2025 } from '../../protocol/era-2025/versions.ts';

export interface SessionRecord {
  readonly id: string;
  /** The protocol version that is spoken in it; undefined = not known yet. */
  readonly version: string | undefined;
  /** Every id of a request in it is smaller. */
  readonly idsBelow: number;
  /** What the server answered to initialize; undefined = not known yet. */
  readonly hello: InitializeResult | undefined;
}

/** Ids of requests that are reserved at once. */
export const RESERVED_IDS = 65_536;
/** The largest id that a session goes on from. */
const MOST_ID = 2 ** 30;
/** Ids of sessions are as long as the header limit allows. */
export const RECORD_BYTES = 64 * 1024;

/** Returns at most `RECORD_BYTES`: long instructions are left out. */
export function recordText({ id, version, idsBelow, hello }: SessionRecord): string {
  const text = JSON.stringify({ format: 1, id, version, idsBelow, hello });
  if (Buffer.byteLength(text) <= RECORD_BYTES || !hello) return text;
  return JSON.stringify({ format: 1, id, version, idsBelow, hello: { ...hello, instructions: '' } });
}

/** Returns undefined where the text is no record. Throws a SyntaxError where it is not JSON. */
export function recordFrom(text: string): SessionRecord | undefined {
  const { id, version, idsBelow, hello } = JSON.parse(text) as Readonly<Record<string, unknown>>;
  // A header is made of it.
  if (typeof id !== 'string' || !/^[\x21-\x7e]+$/.test(id)) return undefined;
  const isFit = Number.isInteger(idsBelow) && Number(idsBelow) > 0 && Number(idsBelow) < MOST_ID;
  return {
    id,
    version: typeof version === 'string' && /^[\d-]{1,40}$/.test(version) ? version : undefined,
    idsBelow: isFit ? Number(idsBelow) : RESERVED_IDS,
    // Where the ids are not known the session is only good for being ended.
    hello: isFit ? helloFrom(hello) : undefined,
  };
}

function helloFrom(value: unknown): InitializeResult | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const { version, name, serverVersion, instructions, capabilities } = value as Readonly<Record<string, unknown>>;
  if (typeof version !== 'string' || !isVersion2025(version)) return undefined;
  if (typeof name !== 'string' || typeof serverVersion !== 'string' || typeof instructions !== 'string')
    return undefined;
  if (typeof capabilities !== 'object' || capabilities === null || Array.isArray(capabilities)) return undefined;
  return { version, name, serverVersion, instructions, capabilities: { ...capabilities } };
}
