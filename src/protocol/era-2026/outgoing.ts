/**
 * Writes requests to servers of the stateless era, and translates their responses so that they mean the same in either
 * era.
 * Guarantees: only what must change changes; what a client said about itself to the hub is not passed on.
 * Source: specification 2026-07-28.
 */
import { type Outcome, Refusal } from '../../model/outcome.ts';
import type { InitializeResult } from '../era-2025/initialize.ts';
import { ABSENT, type Envelope, type Span } from '../message.ts';
import { withoutMembers, withoutPrefix } from '../meta.ts';
import { memberSpan, paramSpan, stringAt } from '../scan.ts';
import { replaceSpans } from '../write.ts';
import { encodeHeader } from './header-value.ts';
import { missingCapability } from './missing-capability.ts';
import { type ParamHeader, paramHeaderLines } from './param-headers.ts';
import { HOP_PREFIX, SERVER_INFO, VERSION_2026 } from './versions.ts';

const OPEN_OBJECT = 0x7b;
const NULL = 0x6e;
const NAME_BYTES = 8192;
const SHORT_BYTES = 200;
const INSTRUCTIONS_BYTES = 16_384;
const CAPABILITIES_BYTES = 65_536;
/** Members of a result that the 2025 dates do not know. */
const ERA_MEMBERS = ['resultType', 'ttlMs', 'cacheScope'] as const;

/** Returns the members that every request's `_meta` has, without braces. */
export function requestMeta(
  client: { readonly name: string; readonly version: string },
  capabilities: object,
  logLevel: string | undefined,
): string {
  const all = {
    [`${HOP_PREFIX}protocolVersion`]: VERSION_2026,
    [`${HOP_PREFIX}clientInfo`]: client,
    [`${HOP_PREFIX}clientCapabilities`]: capabilities,
    ...(logLevel === undefined ? {} : { [`${HOP_PREFIX}logLevel`]: logLevel }),
  };
  return JSON.stringify(all).slice(1, -1);
}

/** Adds request metadata to params. `params` is complete JSON text or undefined; `meta` comes from `requestMeta`. */
export function withRequestMeta(params: Buffer | undefined, meta: string): Buffer {
  if (params === undefined) return Buffer.from(`{"_meta":{${meta}}}`);
  const own = memberSpan(params, { at: 0, end: params.length }, '_meta');
  if (own.at < 0 || params[own.at] !== OPEN_OBJECT) {
    const rest = params.subarray(1);
    const comma = isEmptyRest(rest) ? '' : ',';
    return Buffer.concat([Buffer.from(`{"_meta":{${meta}}${comma}`), rest]);
  }
  const kept = withoutPrefix(params, own, HOP_PREFIX).subarray(1);
  const text = Buffer.concat([Buffer.from(`{${meta}${isEmptyRest(kept) ? '' : ','}`), kept]);
  return replaceSpans(params, [{ ...own, with: text }]);
}

/** Returns true when no member follows the opening brace. */
function isEmptyRest(rest: Buffer): boolean {
  return /^\s*\}/.test(rest.toString('latin1', 0, 16));
}

/**
 * Returns the headers that repeat parts of the body, as name, value, name, value … `declared` returns the arguments
 * that a tool wants repeated.
 */
export function requestHeaders(envelope: Envelope, declared: (tool: string) => readonly ParamHeader[]): string[] {
  const { bytes, method } = envelope;
  const key = method === 'resources/read' ? 'uri' : method === 'tools/call' || method === 'prompts/get' ? 'name' : '';
  const name = key === '' ? undefined : stringAt(bytes, paramSpan(envelope, key), NAME_BYTES);
  const standard = ['mcp-method', encodeHeader(method)];
  if (name === undefined) return standard;
  standard.push('mcp-name', encodeHeader(name));
  const own = method === 'tools/call' ? declared(name) : [];
  return own.length === 0 ? standard : [...standard, ...paramHeaderLines(own, bytes, paramSpan(envelope, 'arguments'))];
}

/** Returns the kind of a result: `complete` when it is missing or null, an empty string when it is not a string. */
export function resultType(json: Buffer): string {
  const type = memberSpan(json, { at: 0, end: json.length }, 'resultType');
  return type.at < 0 || json[type.at] === NULL ? 'complete' : (stringAt(json, type, SHORT_BYTES) ?? '');
}

/** Returns a result without the members that only this era knows. */
export function neutralResult(json: Buffer): Buffer {
  return withoutMembers(json, ERA_MEMBERS);
}

/** Error codes about the hub's own request metadata (−3202x), which mean nothing to its client. */
const OF_THE_HOP = { from: -32029, to: -32020 } as const;
const INVALID_PARAMS = -32602;
const NOT_FOUND = Buffer.from('-32002');
const INTERNAL = Buffer.from('-32603');

/** Returns the params of a notification without the members that only this era knows. */
export function neutralParams(params: Buffer): Buffer {
  const meta = memberSpan(params, { at: 0, end: params.length }, '_meta');
  if (meta.at < 0 || params[meta.at] !== OPEN_OBJECT) return params;
  const kept = withoutPrefix(params, meta, HOP_PREFIX);
  return isEmptyRest(kept.subarray(1))
    ? withoutMembers(params, ['_meta'])
    : replaceSpans(params, [{ ...meta, with: kept }]);
}

/** Returns the code of an error object; NaN when it has none. */
export function errorCode(json: Buffer): number {
  const { at, end } = memberSpan(json, { at: 0, end: json.length }, 'code');
  return at < 0 ? Number.NaN : Number(json.toString('latin1', at, end));
}

/**
 * Translates a server's error to the 2025 dates. `json` is an error object. Errors of server/discover are left to the
 * handshake, which knows the codes. An error that names a missing capability is kept: the hub declares what the caller
 * declared, and only the call can tell which of them lacks it (`missing-capability.ts`).
 */
export function neutralError(method: string, json: Buffer): Buffer {
  const span = memberSpan(json, { at: 0, end: json.length }, 'code');
  const code = span.at < 0 ? Number.NaN : Number(json.toString('utf8', span.at, span.end));
  if (method === 'server/discover' || missingCapability(json)) return json;
  if (code >= OF_THE_HOP.from && code <= OF_THE_HOP.to) return replaceSpans(json, [{ ...span, with: INTERNAL }]);
  const isMissing = code === INVALID_PARAMS && method === 'resources/read';
  return isMissing ? replaceSpans(json, [{ ...span, with: NOT_FOUND }]) : json;
}

/**
 * Reads a server/discover result from `json`. Refuses with `upstream-protocol` when it is invalid or does not support
 * the date.
 */
export function readDiscoverResult(json: Buffer): Outcome<InitializeResult> {
  const whole = { at: 0, end: json.length };
  const versions = memberSpan(json, whole, 'supportedVersions');
  const spoken: unknown = versions.at < 0 ? undefined : parsed(json, versions);
  if (!Array.isArray(spoken))
    return new Refusal('upstream-protocol', 'The answer to server/discover has no supportedVersions.');
  if (!spoken.includes(VERSION_2026))
    return new Refusal(
      'upstream-protocol',
      `It speaks ${spoken.map(String).join(', ').slice(0, 200)} and not ${VERSION_2026}.`,
    );
  const meta = memberSpan(json, whole, '_meta');
  const info = meta.at < 0 ? ABSENT : memberSpan(json, meta, SERVER_INFO);
  const text = (object: Span, key: string, most: number) => stringAt(json, memberSpan(json, object, key), most) ?? '';
  return {
    version: VERSION_2026,
    name: text(info, 'name', SHORT_BYTES),
    serverVersion: text(info, 'version', SHORT_BYTES),
    instructions: text(whole, 'instructions', INSTRUCTIONS_BYTES),
    capabilities: capabilitiesIn(json, memberSpan(json, whole, 'capabilities')),
  };
}

/** Returns true when a server/discover result declares that the server reports changed resources to subscribers. */
export function declaresSubscribe(json: Buffer): boolean {
  const path = ['capabilities', 'resources', 'subscribe'];
  const { at, end } = path.reduce<Span>((span, key) => (span.at < 0 ? ABSENT : memberSpan(json, span, key)), {
    at: 0,
    end: json.length,
  });
  return at >= 0 && json.toString('latin1', at, end).trim() === 'true';
}

/** Returns the capabilities that the hub can use; log levels are set with each request instead. */
function capabilitiesIn(json: Buffer, span: Span): Record<string, unknown> {
  if (span.at < 0 || json[span.at] !== OPEN_OBJECT || span.end - span.at > CAPABILITIES_BYTES) return {};
  const { logging: _, ...others } = parsed(json, span) as Record<string, unknown>;
  return others;
}

function parsed(json: Buffer, { at, end }: Span): unknown {
  try {
    return JSON.parse(json.toString('utf8', at, end));
  } catch {
    return {};
  }
}
