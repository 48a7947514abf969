/**
 * Reads the target of a request (RFC 9112, section 3.2): the absolute form, whose authority counts as Host, and paths
 * with repeated slashes. Only the public paths of MCP and health are normalized: a proxy may protect others by their
 * spelling.
 */
import type { IncomingMessage } from 'node:http';

export interface RequestTarget {
  readonly path: string;
  /** As the client or a proxy has sent it. */
  readonly given: string;
  /** With its question mark; empty when there is none. */
  readonly query: string;
}

const ABSOLUTE = /^https?:\/\/([^/?#]*)/i;
/** Some libraries resolve a relative reference without removing its dots. */
const LENIENT = /^(?:\/\.\.)*\/+((?:mcp|sse|messages)(?:\/.*)?)$/;
const HEALTH = /^\/+((?:health|healthz|livez|readyz|startupz)(?:\/+(?:live|ready|startup))?)\/*$/;

/** Returns the target, and rewrites the request: `url` to path and query, Host to the authority of an absolute form. */
export function readTarget(request: IncomingMessage): RequestTarget {
  const url = request.url ?? '/';
  if (!url.startsWith('/')) takeAuthority(request, url);
  const { url: local = '/' } = request;
  const at = local.indexOf('?');
  const given = at < 0 ? local : local.slice(0, at);
  const query = at < 0 ? '' : local.slice(at);
  const path = plainPath(given);
  if (path !== given) request.url = path + query;
  return { path, given, query };
}

function takeAuthority(request: IncomingMessage, url: string): void {
  const [all, authority] = ABSOLUTE.exec(url) ?? [];
  if (all === undefined) return;
  const rest = url.slice(all.length);
  request.url = rest.startsWith('/') ? rest : `/${rest}`;
  request.headers.host = authority ?? '';
  // A client that sends this form takes the hub for a proxy: it does not count as a local program.
  request.headers.via ??= '1.1 absolute-form';
}

function plainPath(path: string): string {
  if (path === '/mcp') return path;
  const lenient = LENIENT.exec(path)?.[1] ?? HEALTH.exec(path)?.[1];
  return lenient === undefined ? path : `/${lenient.replace(/\/{2,}/g, '/')}`;
}
