/**
 * What a browser needs to let an allowed page call the hub and read its answers (https://fetch.spec.whatwg.org/#http-cors-protocol).
 * The caller has checked the Origin (`auth/origin.ts`).
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { requestedHeaders } from './header-values.ts';

const METHODS = 'GET, POST, DELETE';
const EXPOSED = 'Mcp-Session-Id, MCP-Protocol-Version, Retry-After, WWW-Authenticate, Allow, Accept-Encoding';
/** Headers of MCP that are allowed whether a page asks for them or not. */
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
/** Longest list of header names that is echoed. */
const MAX_ASKED_CHARS = 1024;
const MAX_AGE_S = '600';

/** Marks the answer as readable for the page that has made the request. */
export function allowPage(response: ServerResponse, origin: string): void {
  response.setHeader('access-control-allow-origin', origin);
  response.setHeader('access-control-expose-headers', EXPOSED);
}

/** Answers a preflight: the headers of MCP, and those that the page asks for. */
export function writePreflight(request: IncomingMessage, response: ServerResponse): void {
  response.writeHead(204, {
    vary: 'Origin, Access-Control-Request-Method, Access-Control-Request-Headers',
    'access-control-allow-methods': METHODS,
    'access-control-allow-headers': allowedHeaders(requestedHeaders(request, MAX_ASKED_CHARS)).join(', '),
    'access-control-max-age': MAX_AGE_S,
  });
  response.end();
}

/** Returns the names that a preflight allows, for those that are asked for. Names that are no tokens are left out. */
export function allowedHeaders(asked: readonly string[] = []): readonly string[] {
  return [...new Set([...HEADERS, ...asked.filter((name) => TOKEN.test(name))])];
}
