/**
 * The address and origin of a request, read once.
 */
import type { IncomingMessage } from 'node:http';
import type { PathTarget, Visitor } from '../auth/access.ts';
import { isLoopbackHost } from '../auth/origin.ts';
import type { RequestContext } from '../call/call.ts';
import { clientAddress } from './client-address.ts';
import { sessionIdIn } from './header-values.ts';

export function requestContextFrom(request: IncomingMessage, target: PathTarget, local: boolean): RequestContext {
  const { headers } = request;
  const address = clientAddress(request);
  return {
    local,
    authorization: headers.authorization,
    address,
    visitor: new RequestVisitor(request, address),
    target,
    sessionId: sessionIdIn(headers),
  };
}

/**
 * Reads from the request only when asked, which only groups without keys do. A class, because an accessor in an object
 * literal gives each object a hidden class of its own, which outlives it and keeps its request through many
 * collections.
 */
class RequestVisitor implements Visitor {
  readonly #request: IncomingMessage;
  readonly #address: string;

  constructor(request: IncomingMessage, address: string) {
    this.#request = request;
    this.#address = address;
  }

  get loopback(): boolean {
    return isLoopback(this.#address);
  }

  get proxied(): boolean {
    return isProxied(this.#request);
  }
}

/** Headers that proxies add, beside those with one of the prefixes below. */
const PROXY_HEADERS: ReadonlySet<string> = new Set([
  'via',
  'forwarded',
  'x-real-ip',
  'x-client-ip',
  'x-cluster-client-ip',
  'x-original-host',
  'x-original-url',
  'x-original-forwarded-for',
  'true-client-ip',
  'fastly-client-ip',
  'client-ip',
  'cdn-loop',
]);
const PROXY_PREFIXES = ['x-forwarded-', 'cf-', 'x-envoy-', 'x-azure-', 'x-amzn-', 'fly-', 'x-vercel-', 'x-arr-'];

/**
 * Tells whether the request may have come through a proxy: it has a header that proxies add, it is HTTP/1.0 (the
 * default of nginx and others), or its Host is not this machine. A proxy that rewrites Host to loopback, adds nothing
 * and uses HTTP/1.1 looks like a local client.
 */
export function isProxied({ headers, httpVersionMajor, httpVersionMinor }: IncomingMessage): boolean {
  if (httpVersionMajor === 1 && httpVersionMinor === 0) return true;
  if (headers.host === undefined || !isLoopbackHost(headers.host)) return true;
  for (const name in headers)
    if (PROXY_HEADERS.has(name) || PROXY_PREFIXES.some((prefix) => name.startsWith(prefix))) return true;
  return false;
}

function isLoopback(address: string): boolean {
  return address === '::1' || address.startsWith('127.') || address.startsWith('::ffff:127.');
}
