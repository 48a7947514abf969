/**
 * Reads the request metadata of the stateless era: the protocol date, the client's capabilities, and the headers that
 * must agree with the body.
 * Guarantees: only the body decides the era. A request whose headers contradict its body is refused under its own id,
 * with the code of the specification, before anything is executed; the first failing check decides the code.
 * `Mcp-Param-*` is checked later, when the tool is known.
 * Source: specification 2026-07-28, transports and versioning.
 */
import { isRefusal, type Outcome, Refusal } from '../../model/outcome.ts';
import { declaredBits } from '../era-2025/initialize.ts';
import { isVersion2025, versionFromHeader } from '../era-2025/versions.ts';
import { everyMemberMatches, listMembers } from '../header-list.ts';
import { LOG_LEVELS } from '../log-level.ts';
import type { Envelope, Span } from '../message.ts';
import { memberSpan, paramSpan, stringAt } from '../scan.ts';
import { HOP_PREFIX, SUPPORTED, VERSION_2026 } from './versions.ts';

export interface RequestMeta {
  /** Bits of `CAPABILITY`. */
  readonly capabilityBits: number;
  readonly clientName: string;
  readonly clientVersion: string;
  /** Lowest level of server log messages that the request wants; undefined when it wants none. */
  readonly logLevel: string | undefined;
}

/** The relevant headers, as received. */
export interface RequestMetaHeaders {
  readonly version: string | undefined;
  readonly method: string | undefined;
  readonly name: string | undefined;
}

const OPEN_OBJECT = 0x7b;
const NAME_BYTES = 200;
const VALUE_BYTES = 8192;
const KEYS = {
  version: `${HOP_PREFIX}protocolVersion`,
  capabilities: `${HOP_PREFIX}clientCapabilities`,
  client: `${HOP_PREFIX}clientInfo`,
  logLevel: `${HOP_PREFIX}logLevel`,
} as const;
const VERSION_KEY = Buffer.from(KEYS.version);
/** The member of params that the header Mcp-Name repeats, per method. */
const NAMED_BY: Readonly<Record<string, 'name' | 'uri'>> = {
  'tools/call': 'name',
  'prompts/get': 'name',
  'resources/read': 'uri',
};

/**
 * Returns undefined for a message of the 2025 dates. The header alone does not select the era, and is ignored on
 * initialize and notifications. It may list several dates; one of them must be the date in the body.
 */
export function readRequestMeta(envelope: Envelope, headers: RequestMetaHeaders): Outcome<RequestMeta | undefined> {
  if (envelope.kind === 'reply') return undefined;
  const { bytes } = envelope;
  const header = headers.version ?? '';
  // Fast path for nearly all requests: without the date or the key there is no metadata, and params need no walk.
  if (!header.includes(VERSION_2026) && !bytes.includes(VERSION_KEY)) return undefined;
  const dates = listMembers(header);
  const meta = paramSpan(envelope, '_meta');
  const version = memberSpan(bytes, meta, KEYS.version);
  if (version.at < 0) {
    if (isForgiven(envelope) || !isOnly2026(dates)) return undefined;
    return new Refusal('envelope-invalid', `params._meta lacks "${KEYS.version}", which ${VERSION_2026} demands.`);
  }
  const claimed = stringAt(bytes, version, NAME_BYTES);
  if (claimed === undefined) return new Refusal('envelope-invalid', `"${KEYS.version}" must be a string.`);
  if (isVersion2025(claimed) && (isForgiven(envelope) || !isOnly2026(dates))) return undefined;
  if (dates.length > 0 && !dates.includes(claimed))
    return new Refusal(
      'header-mismatch',
      `MCP-Protocol-Version is ${shown(header)}, but the body contains ${shown(claimed)}.`,
    );
  if (claimed !== VERSION_2026)
    return new Refusal('version-unsupported', `Protocol version ${shown(claimed)} is not supported.`, {
      supported: SUPPORTED,
      requested: claimed.slice(0, NAME_BYTES),
    });
  const claim = readMeta(bytes, meta);
  if (claim instanceof Refusal || envelope.kind === 'notification') return claim;
  return refuseHeaders(envelope, headers) ?? claim;
}

/**
 * Checks the header MCP-Protocol-Version of a message without request metadata: one of its dates must be known, and for
 * a request one of the 2025 dates. Initialize negotiates the date in its body.
 */
export function refuseVersionHeader(envelope: Envelope, header: string | undefined): Refusal | undefined {
  if (header === undefined || envelope.method === 'initialize') return undefined;
  const version = versionFromHeader(header);
  if (!isRefusal(version)) return undefined;
  return envelope.kind === 'notification' && listMembers(header).includes(VERSION_2026) ? undefined : version;
}

/**
 * Returns true for messages whose header is not checked: clients with a fixed header in their configuration send it
 * before a date is negotiated.
 */
function isForgiven({ kind, method }: Envelope): boolean {
  return kind === 'notification' || method === 'initialize';
}

function isOnly2026(dates: readonly string[]): boolean {
  return dates.includes(VERSION_2026) && !dates.some(isVersion2025);
}

function readMeta(bytes: Buffer, meta: Span): Outcome<RequestMeta> {
  const capabilities = memberSpan(bytes, meta, KEYS.capabilities);
  if (capabilities.at < 0 || bytes[capabilities.at] !== OPEN_OBJECT)
    return new Refusal('envelope-invalid', `params._meta lacks "${KEYS.capabilities}", an object.`);
  const client = memberSpan(bytes, meta, KEYS.client);
  if (client.at >= 0 && bytes[client.at] !== OPEN_OBJECT)
    return new Refusal('envelope-invalid', `"${KEYS.client}" must be an object.`);
  const levelSpan = memberSpan(bytes, meta, KEYS.logLevel);
  const logLevel = stringAt(bytes, levelSpan, 40);
  if (levelSpan.at >= 0 && (logLevel === undefined || !LOG_LEVELS.includes(logLevel)))
    return new Refusal('envelope-invalid', `"${KEYS.logLevel}" must be one of ${LOG_LEVELS.join(', ')}.`);
  return {
    capabilityBits: declaredBits(bytes, capabilities),
    clientName: stringAt(bytes, memberSpan(bytes, client, 'name'), NAME_BYTES) ?? '',
    clientVersion: stringAt(bytes, memberSpan(bytes, client, 'version'), NAME_BYTES) ?? '',
    logLevel,
  };
}

/** Refuses missing and contradicting headers: proxies route by them. */
function refuseHeaders(envelope: Envelope, headers: RequestMetaHeaders): Refusal | undefined {
  const { bytes, method } = envelope;
  if (isEmpty(headers.version)) return missing('MCP-Protocol-Version');
  if (isEmpty(headers.method)) return missing('Mcp-Method');
  if (!isSameValue(headers.method, method)) return differs('Mcp-Method', headers.method, 'method');
  const key = Object.hasOwn(NAMED_BY, method) ? NAMED_BY[method] : undefined;
  const name = key === undefined ? undefined : stringAt(bytes, paramSpan(envelope, key), VALUE_BYTES);
  // A body without a name is refused later, for that reason.
  if (key === undefined || name === undefined) return undefined;
  if (isEmpty(headers.name)) return missing('Mcp-Name');
  return isSameValue(headers.name, name) ? undefined : differs('Mcp-Name', headers.name, `params.${key}`);
}

function isEmpty(header: string | undefined): header is undefined | '' {
  return header === undefined || header === '';
}

function isSameValue(header: string, text: string): boolean {
  return everyMemberMatches(header, text, (field) => field === text);
}

function missing(header: string): Refusal {
  return new Refusal('header-mismatch', `The header ${header} is missing.`, { header });
}

function differs(header: string, value: string, member: string): Refusal {
  return new Refusal('header-mismatch', `The header ${header} is ${shown(value)}, but ${member} differs.`, {
    header,
  });
}

function shown(text: string): string {
  return JSON.stringify(text.slice(0, 60));
}
