/**
 * The content of a file of `session-memory.ts`: enough to end a session, or to continue it if its server does not end
 * it.
 * Guarantees: values that are read are valid in headers and in the pipeline, whoever wrote the file.
 */
import { isRefusal } from '../../model/outcome.ts';
import { type InitializeResult, readInitializeResult } from '../../protocol/era-2025/initialize.ts';
import { isVersion2025 } from '../../protocol/era-2025/versions.ts';
import { jsonBytes } from '../../protocol/json-text.ts';

export interface SessionRecord {
  readonly id: string;
  /** Its protocol version; undefined when not known yet. */
  readonly version: string | undefined;
  /** All ids of requests in it are smaller. */
  readonly idsBelow: number;
  /** The server's initialize result; undefined when not known yet. */
  readonly hello: InitializeResult | undefined;
}

const FORMAT = 1;
/** Number of request ids that are reserved at once. */
export const RESERVED_IDS = 65_536;
/** The largest id from which a session is continued. */
const MOST_ID = 2 ** 30;
/** Ids of sessions are limited only by the header limit. */
export const RECORD_BYTES = 64 * 1024;

/** Returns at most `RECORD_BYTES`: long instructions are left out. */
export function recordText({ id, version, idsBelow, hello }: SessionRecord): string {
  const text = JSON.stringify({ format: FORMAT, id, version, idsBelow, hello });
  if (Buffer.byteLength(text) <= RECORD_BYTES || !hello) return text;
  return JSON.stringify({ format: FORMAT, id, version, idsBelow, hello: { ...hello, instructions: '' } });
}

/** Returns undefined when the text is no record. Throws a SyntaxError when it is not JSON. */
export function recordFrom(text: string): SessionRecord | undefined {
  const { format, id, version, idsBelow, hello } = JSON.parse(text) as Readonly<Record<string, unknown>>;
  if (format !== FORMAT) return undefined;
  // It becomes a header.
  if (typeof id !== 'string' || !/^[\x21-\x7e]+$/.test(id)) return undefined;
  const isFit = Number.isInteger(idsBelow) && Number(idsBelow) > 0 && Number(idsBelow) < MOST_ID;
  return {
    id,
    version: typeof version === 'string' && /^[\d-]{1,40}$/.test(version) ? version : undefined,
    idsBelow: isFit ? Number(idsBelow) : RESERVED_IDS,
    // Without known ids the session can only be ended.
    hello: isFit ? helloFrom(hello) : undefined,
  };
}

/** Applies the limits of an answer of the server. */
function helloFrom(value: unknown): InitializeResult | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const { version, name, serverVersion, instructions, capabilities } = value as Readonly<Record<string, unknown>>;
  if (typeof version !== 'string' || !isVersion2025(version)) return undefined;
  const result = { protocolVersion: version, serverInfo: { name, version: serverVersion }, instructions, capabilities };
  const hello = readInitializeResult(jsonBytes(result));
  return isRefusal(hello) ? undefined : hello;
}
