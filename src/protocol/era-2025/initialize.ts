/**
 * Reads and writes the initialize request and result, for clients and for servers.
 * Guarantees: reading is lenient, because clients omit members, and extracts only what is needed, so that megabytes of
 * icons or instructions are not parsed; names and instructions are cut to a bounded length.
 */
import { type Outcome, Refusal } from '../../model/outcome.ts';
import { jsonBytes } from '../json-text.ts';
import type { Span } from '../message.ts';
import { memberSpan, stringAt } from '../scan.ts';
import { LATEST_2025, negotiate } from './versions.ts';

/** Capabilities that a client declared, as bits of a sealed session token. */
export const CAPABILITY = { roots: 1, sampling: 2, elicitation: 4, elicitationUrl: 8, samplingTools: 16 } as const;

/** Longest name or version of a client or server, in bytes. */
const NAME_BYTES = 200;
/** Longest instructions of a server, in bytes; `call/initialize.ts` shows less. */
const INSTRUCTIONS_BYTES = 16_384;
/** A larger capabilities object counts as empty. */
const CAPABILITIES_BYTES = 65_536;
const OPEN_OBJECT = 0x7b;

export interface InitializeRequest {
  /** The negotiated protocol date. */
  readonly version: string;
  readonly clientName: string;
  readonly clientVersion: string;
  readonly capabilityBits: number;
}

/** Reads the params of an initialize request. `json` is the text of the params object, scanned before. */
export function readInitialize(json: Buffer): Outcome<InitializeRequest> {
  if (json[0] !== OPEN_OBJECT) return new Refusal('invalid-params', 'initialize needs params.');
  const params = whole(json);
  const client = memberSpan(json, params, 'clientInfo');
  return {
    version: negotiate(stringAt(json, memberSpan(json, params, 'protocolVersion'))),
    clientName: textIn(json, client, 'name', NAME_BYTES),
    clientVersion: textIn(json, client, 'version', NAME_BYTES),
    capabilityBits: declaredBits(json, memberSpan(json, params, 'capabilities')),
  };
}

/** Returns what the object at `capabilities` declares; `initialize` and the stateless era use the same form. */
export function declaredBits(json: Buffer, capabilities: Span): number {
  const has = (span: Span) => span.at >= 0 && json[span.at] === OPEN_OBJECT;
  const elicitation = memberSpan(json, capabilities, 'elicitation');
  const sampling = memberSpan(json, capabilities, 'sampling');
  let bits = 0;
  if (has(memberSpan(json, capabilities, 'roots'))) bits |= CAPABILITY.roots;
  if (has(sampling)) bits |= CAPABILITY.sampling;
  if (has(memberSpan(json, sampling, 'tools'))) bits |= CAPABILITY.samplingTools;
  if (has(elicitation)) bits |= CAPABILITY.elicitation;
  if (has(memberSpan(json, elicitation, 'url'))) bits |= CAPABILITY.elicitationUrl;
  return bits;
}

export interface InitializeReply {
  readonly version: string;
  readonly capabilities: object;
  readonly instructions: string;
  readonly serverName: string;
  readonly serverVersion: string;
}

export function initializeResult(hello: InitializeReply): Buffer {
  return jsonBytes({
    protocolVersion: hello.version,
    capabilities: hello.capabilities,
    serverInfo: { name: hello.serverName, version: hello.serverVersion },
    ...(hello.instructions === '' ? {} : { instructions: hello.instructions }),
  });
}

/**
 * Returns the params of the hub's own initialize request to a server. `capabilityBits` is what the client side declares
 * (`upstream/client-context.ts`).
 */
export function initializeParams(
  client: { readonly name: string; readonly version: string },
  capabilityBits: number,
  protocolVersion = LATEST_2025,
): Buffer {
  const capabilities = capabilitiesFrom(capabilityBits);
  return jsonBytes({ protocolVersion, capabilities, clientInfo: client });
}

/** Converts bits of `CAPABILITY` to a capabilities object, for either era. */
export function capabilitiesFrom(bits: number): object {
  const has = (bit: number) => (bits & bit) !== 0;
  const url = has(CAPABILITY.elicitationUrl) ? { form: {}, url: {} } : {};
  return {
    ...(has(CAPABILITY.roots) ? { roots: { listChanged: true } } : {}),
    ...(has(CAPABILITY.sampling) ? { sampling: has(CAPABILITY.samplingTools) ? { tools: {} } : {} } : {}),
    ...(has(CAPABILITY.elicitation) ? { elicitation: url } : {}),
  };
}

export interface InitializeResult {
  readonly version: string;
  readonly name: string;
  readonly serverVersion: string;
  readonly instructions: string;
  readonly capabilities: Readonly<Record<string, unknown>>;
}

/**
 * Reads the result of an initialize request. `json` is the text of the result, scanned before. Refuses with
 * `upstream-protocol` what is not an initialize result.
 */
export function readInitializeResult(json: Buffer): Outcome<InitializeResult> {
  const result = whole(json);
  const version = stringAt(json, memberSpan(json, result, 'protocolVersion'), NAME_BYTES);
  if (version === undefined)
    return new Refusal('upstream-protocol', 'The answer to initialize has no protocolVersion.');
  const server = memberSpan(json, result, 'serverInfo');
  return {
    version,
    name: textIn(json, server, 'name', NAME_BYTES),
    serverVersion: textIn(json, server, 'version', NAME_BYTES),
    instructions: textIn(json, result, 'instructions', INSTRUCTIONS_BYTES),
    capabilities: capabilitiesIn(json, memberSpan(json, result, 'capabilities')),
  };
}

function capabilitiesIn(json: Buffer, span: Span): Record<string, unknown> {
  if (span.at < 0 || json[span.at] !== OPEN_OBJECT || span.end - span.at > CAPABILITIES_BYTES) return {};
  try {
    return JSON.parse(json.toString('utf8', span.at, span.end)) as Record<string, unknown>;
  } catch {
    return {};
  }
}

function whole(json: Buffer): Span {
  return { at: 0, end: json.length };
}

/** Returns the text of a member, cut to `maxBytes`; empty when it is missing or not a string. */
function textIn(json: Buffer, object: Span, key: string, maxBytes: number): string {
  return stringAt(json, memberSpan(json, object, key), maxBytes) ?? '';
}
