/**
 * CORS headers, which let an allowed page in a browser call the hub and read its answers
 * (https://fetch.spec.whatwg.org/#http-cors-protocol). `auth/origin.ts` decides who is refused; a page that may not
 * read an answer may still receive it.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { isOriginAllowed, type OriginRules } from '../auth/origin.ts';
import { requestedHeaders } from './header-values.ts';

const METHODS = 'GET, POST, DELETE';
const EXPOSED = 'Mcp-Session-Id, MCP-Protocol-Version, Retry-After, WWW-Authenticate, Allow, Accept-Encoding';
/** Headers of MCP that are allowed whether a page requests them or not. */
const HEADERS: readonly string[] = [
  'authorization',
  'content-type',
  'accept',
  'last-event-id',
  'mcp-session-id',
  'mcp-protocol-version',
  'mcp-method',
  'mcp-name',
];
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9a-z]+$/;
/** Longest list of header names that is echoed, in characters. */
const MAX_ASKED_CHARS = 1024;
const MAX_AGE_S = '600';

/**
 * Returns the headers that let the requesting page read the answer: only `Vary` for a page that is not allowed, none
 * without an Origin.
 */
export function pageHeaders({ headers }: IncomingMessage, rules: OriginRules): readonly (readonly [string, string])[] {
  const { host, origin } = headers;
  if (origin === undefined) return [];
  const vary = ['vary', 'Origin'] as const;
  if (!isOriginAllowed({ host, origin }, rules)) return [vary];
  return [vary, ['access-control-allow-origin', origin], ['access-control-expose-headers', EXPOSED]];
}

/** Answers a preflight with the headers of MCP and those that the page requests. */
export function writePreflight(request: IncomingMessage, response: ServerResponse): void {
  response.writeHead(204, {
    vary: 'Origin, Access-Control-Request-Method, Access-Control-Request-Headers',
    'access-control-allow-methods': METHODS,
    'access-control-allow-headers': allowedHeaders(requestedHeaders(request, MAX_ASKED_CHARS)).join(', '),
    'access-control-max-age': MAX_AGE_S,
  });
  response.end();
}

/** Returns the names that a preflight allows, from those requested. Names that are no tokens are left out. */
export function allowedHeaders(asked: readonly string[] = []): readonly string[] {
  return [...new Set([...HEADERS, ...asked.filter((name) => TOKEN.test(name))])];
}
