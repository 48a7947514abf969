/**
 * The initialize request and answer, on both sides of the hub.
 * Promises: reading is lenient (clients leave things out); writing is complete.
 */
import { type Outcome, Refusal } from '../../kernel/outcome.ts';
import { LATEST_2025, negotiate } from './versions.ts';

/** What a client declared, as bits of a sealed session. */
export const CAPABILITY = { roots: 1, sampling: 2, elicitation: 4, elicitationUrl: 8 } as const;

export interface ClientHello {
  /** The date that is spoken from now on. */
  readonly version: string;
  readonly clientName: string;
  readonly clientVersion: string;
  readonly capabilityBits: number;
}

/** `json` = text of the params object. */
export function readInitialize(json: Buffer): Outcome<ClientHello> {
  const params = objectFrom(json);
  if (!params) return new Refusal('invalid-params', 'initialize needs params.');
  const info = recordFrom(params.clientInfo);
  return {
    version: negotiate(params.protocolVersion),
    clientName: textFrom(info.name),
    clientVersion: textFrom(info.version),
    capabilityBits: bitsFrom(recordFrom(params.capabilities)),
  };
}

function bitsFrom(capabilities: Record<string, unknown>): number {
  let bits = 0;
  if (capabilities.roots !== undefined) bits |= CAPABILITY.roots;
  if (capabilities.sampling !== undefined) bits |= CAPABILITY.sampling;
  if (capabilities.elicitation !== undefined) bits |= CAPABILITY.elicitation;
  if (recordFrom(capabilities.elicitation).url !== undefined) bits |= CAPABILITY.elicitationUrl;
  return bits;
}

export interface HubHello {
  readonly version: string;
  readonly capabilities: object;
  readonly instructions: string;
  readonly serverName: string;
  readonly serverVersion: string;
}

export function initializeResult(hello: HubHello): Buffer {
  return Buffer.from(
    JSON.stringify({
      protocolVersion: hello.version,
      capabilities: hello.capabilities,
      serverInfo: { name: hello.serverName, version: hello.serverVersion },
      ...(hello.instructions === '' ? {} : { instructions: hello.instructions }),
    }),
  );
}

/** The hub's own initialize towards a server: no client capabilities, so that a shared link is never asked anything. */
export function initializeParams(client: { readonly name: string; readonly version: string }): Buffer {
  return Buffer.from(JSON.stringify({ protocolVersion: LATEST_2025, capabilities: {}, clientInfo: client }));
}

export interface ServerHello {
  readonly version: string;
  readonly name: string;
  readonly serverVersion: string;
  readonly instructions: string;
  readonly capabilities: Readonly<Record<string, unknown>>;
}

/** Refuses with `upstream-protocol` what is not an initialize result. */
export function readInitializeResult(json: Buffer): Outcome<ServerHello> {
  const result = objectFrom(json);
  if (!result || typeof result.protocolVersion !== 'string')
    return new Refusal('upstream-protocol', 'The answer to initialize has no protocolVersion.');
  const info = recordFrom(result.serverInfo);
  return {
    version: result.protocolVersion,
    name: textFrom(info.name),
    serverVersion: textFrom(info.version),
    instructions: textFrom(result.instructions),
    capabilities: recordFrom(result.capabilities),
  };
}

function objectFrom(json: Buffer): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(json.toString('utf8'));
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : undefined;
  } catch {
    return undefined;
  }
}

function recordFrom(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}

function textFrom(value: unknown): string {
  return typeof value === 'string' ? value : '';
}
