/**
 * What a request of the stateless era (2026-07-28) must say of itself before the modern everything server does
 * anything: `_meta`, and over HTTP the headers that repeat the body, `Mcp-Param-*` among them.
 * Promises: who contradicts himself is refused with the code of the specification; the status is that of the
 * specification too.
 * Does not: share a line with the hub, whose reading of the same rules it is here to check.
 */
import type { IncomingHttpHeaders } from 'node:http';
import { type ClientCapabilities, ErrorCode, type LoggingLevel, McpError } from '@modelcontextprotocol/sdk/types.js';
import { TOOLS } from './everything-tools.ts';

export const MODERN_VERSION = '2026-07-28';
export const PREFIX = 'io.modelcontextprotocol/';
const VERSION_KEY = `${PREFIX}protocolVersion`;

export const CODE = { headerMismatch: -32020, missingCapability: -32021, versionUnsupported: -32022 } as const;

export interface ModernParams {
  readonly name?: string;
  readonly uri?: string;
  readonly arguments?: Readonly<Record<string, unknown>>;
  readonly requestId?: string | number;
  readonly requestState?: unknown;
  readonly inputResponses?: unknown;
  readonly notifications?: Readonly<Record<string, unknown>>;
  readonly _meta?: Readonly<Record<string, unknown>>;
}

export interface ModernMessage {
  readonly id?: string | number;
  readonly method: string;
  readonly params?: ModernParams;
}

export interface ModernClaim {
  readonly capabilities: ClientCapabilities;
  /** Undefined = no log lines. */
  readonly logLevel: LoggingLevel | undefined;
}

/** The request says that it is of the stateless era. */
export function isClaimed(body: unknown): boolean {
  const meta = (body as Partial<ModernMessage> | undefined)?.params?._meta;
  return typeof meta === 'object' && meta !== null && VERSION_KEY in meta;
}

/** `headers` = undefined over stdio, which has none. Throws an `McpError`. */
export function readModernClaim(message: ModernMessage, headers?: IncomingHttpHeaders): ModernClaim {
  const meta = message.params?._meta ?? {};
  const version = meta[VERSION_KEY];
  const capabilities = meta[`${PREFIX}clientCapabilities`];
  if (typeof version !== 'string') throw new McpError(ErrorCode.InvalidParams, `_meta lacks ${VERSION_KEY}`);
  if (headers && headers['mcp-protocol-version'] !== version) throw mismatch('MCP-Protocol-Version');
  if (version !== MODERN_VERSION)
    throw new McpError(CODE.versionUnsupported, 'Unsupported protocol version', {
      supported: [MODERN_VERSION],
      requested: version,
    });
  if (typeof capabilities !== 'object' || capabilities === null)
    throw new McpError(ErrorCode.InvalidParams, '_meta lacks the capabilities of the client');
  if (headers) checkHeaders(message, headers);
  const logLevel = meta[`${PREFIX}logLevel`] as LoggingLevel | undefined;
  return { capabilities: capabilities as ClientCapabilities, logLevel };
}

/** HTTP status of an answer that is an error. */
export function statusOf(code: number): number {
  if (code === ErrorCode.MethodNotFound) return 404;
  return (Object.values(CODE) as number[]).includes(code) ? 400 : 200;
}

const NAMED_BY: Readonly<Record<string, 'name' | 'uri'>> = {
  'tools/call': 'name',
  'prompts/get': 'name',
  'resources/read': 'uri',
};

function checkHeaders({ method, params = {} }: ModernMessage, headers: IncomingHttpHeaders): void {
  if (decoded(headers['mcp-method']) !== method) throw mismatch('Mcp-Method');
  const key = NAMED_BY[method];
  if (key === undefined) return;
  if (params[key] !== undefined && decoded(headers['mcp-name']) !== params[key]) throw mismatch('Mcp-Name');
  if (method !== 'tools/call') return;
  const properties = TOOLS.find(({ tool }) => tool.name === params.name)?.tool.inputSchema.properties ?? {};
  for (const [property, schema] of Object.entries(properties)) {
    const header = (schema as Record<string, unknown>)['x-mcp-header'];
    if (typeof header !== 'string') continue;
    const value = params.arguments?.[property] ?? undefined;
    const text = decoded(headers[`mcp-param-${header.toLowerCase()}`]);
    const isSame = typeof value === 'number' ? text !== undefined && Number(text) === value : text === asText(value);
    if (!isSame) throw mismatch(`Mcp-Param-${header}`);
  }
}

function asText(value: unknown): string | undefined {
  return value === undefined ? undefined : String(value);
}

/** The word for bytes that no header can carry; undefined = it is none, or not there. */
function decoded(header: string | string[] | undefined): string | undefined {
  if (typeof header !== 'string') return undefined;
  const coded = /^=\?base64\?(.*)\?=$/.exec(header)?.[1];
  if (coded === undefined) return header;
  const bytes = Buffer.from(coded, 'base64');
  return bytes.toString('base64') === coded ? bytes.toString('utf8') : undefined;
}

function mismatch(header: string): McpError {
  return new McpError(CODE.headerMismatch, `${header} does not say what the body says`);
}
