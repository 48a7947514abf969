/**
 * Host and Origin: protection of a local hub against web pages (DNS rebinding), before anything else is looked at.
 * Promises: pure and from memory; a page of a foreign site cannot reach the hub through a browser.
 * Source: MCP specification, Streamable HTTP, security warning; docker/mcp-gateway CVE-2025-64443.
 * Does not: replace keys. Programs outside a browser send whatever they like.
 */
import { isIP } from 'node:net';
import { matchesOrigin, type Origin, parseOrigin, withoutFinalDot } from '../config/origin-pattern.ts';
import { type Outcome, Refusal } from '../model/outcome.ts';

/** Names that only the own machine or a container's host can mean. */
const LOCAL_NAMES: ReadonlySet<string> = new Set(['localhost', 'host.docker.internal', 'host.containers.internal']);

/** Longest name of DNS, and a port. */
const MAX_HOST_CHARS = 260;

export interface OriginRules {
  /** Extra host names, lower case; `*` = any. */
  readonly allowedHosts: readonly string[];
  /** Extra origins as `config/origin-pattern.ts` reads them; `*` = any. */
  readonly allowedOrigins: readonly string[];
}

/** What a request says about where it goes and which page has made it. */
export interface Asked {
  readonly host: string | undefined;
  readonly origin: string | undefined;
  /** Sec-Fetch-Site, by which a browser says what page asks when it sends no Origin (GET of an image, a frame, or a fetch without CORS). */
  readonly fetchSite?: string | undefined;
  /** HTTP/1.0, which no browser speaks, has no duty to send Host. */
  readonly isHttp10?: boolean;
}

/** Checks Host and Origin; undefined = both are fine. */
export function checkOrigin(asked: Asked, rules: OriginRules): Outcome<undefined> {
  return checkHost(asked, rules) ?? (isOriginAllowed(asked, rules) ? undefined : originRefused(asked.origin));
}

/** Refuses a Host by another name. A literal IP address is fine: rebinding needs a name. */
function checkHost({ host, isHttp10 = false }: Asked, rules: OriginRules): Refusal | undefined {
  if (isHttp10 && (host === undefined || host === '')) return undefined;
  const name = host === undefined ? undefined : parseHost(host)?.name;
  const isFine =
    name !== undefined &&
    (isLocalName(name) || isIP(name) !== 0 || rules.allowedHosts.includes(name) || rules.allowedHosts.includes('*'));
  if (isFine) return undefined;
  if (host === undefined || host === '')
    return new Refusal('host-refused', 'The Host header is empty; name the host that you call.');
  const shown = JSON.stringify(host.slice(0, 100));
  return new Refusal(
    'host-refused',
    `Host ${shown} is not allowed here; add it to settings.allowedHosts or MCPHUB_ALLOWED_HOSTS.`,
  );
}

/**
 * True for a request of no page, and for an allowed one. An allowed host is fine as Origin with https at the standard port, or at the host and port
 * of the Host header; an allowed origin must match in scheme, host and port.
 */
export function isOriginAllowed({ host, origin, fetchSite }: Asked, rules: OriginRules): boolean {
  if (rules.allowedOrigins.includes('*')) return true;
  // Without an Origin nobody knows which page of another site it is, and the page may not read the answer anyway.
  if (origin === undefined) return fetchSite === undefined || fetchSite === 'same-origin' || fetchSite === 'none';
  const from = parseOrigin(origin);
  if (from === undefined) return false;
  if (rules.allowedOrigins.some((pattern) => matchesOrigin(pattern, from))) return true;
  if (from.scheme !== 'http' && from.scheme !== 'https') return false;
  return isLocalOrigin(from.name) || isOwnOrigin(from, rules, host === undefined ? undefined : parseHost(host));
}

function originRefused(origin: string | undefined): Refusal {
  if (origin === undefined)
    return new Refusal('origin-refused', 'A page of another site made this request without an Origin header.');
  return new Refusal(
    'origin-refused',
    `Origin ${JSON.stringify(origin.slice(0, 100))} is not allowed here; add it to settings.allowedOrigins or MCPHUB_ALLOWED_ORIGINS.`,
  );
}

/** A page of an allowed host: over TLS at the standard port, or from the very address that is asked. */
function isOwnOrigin({ scheme, name, port }: Origin, rules: OriginRules, asked: Host | undefined): boolean {
  if (!rules.allowedHosts.includes(name)) return false;
  const standard = scheme === 'https' ? 443 : 80;
  if (scheme === 'https' && Number(port) === standard) return true;
  return name === asked?.name && Number(port) === (asked.port ?? standard);
}

function isLocalOrigin(name: string): boolean {
  return isLocalName(name) || name === '127.0.0.1' || name === '::1';
}

function isLocalName(name: string): boolean {
  return LOCAL_NAMES.has(name) || name.endsWith('.localhost');
}

/** True when a Host header names this machine's loopback: `localhost`, 127.0.0.0/8 or ::1, with or without a port. */
export function isLoopbackHost(host: string): boolean {
  const name = parseHost(host)?.name;
  if (name === undefined) return false;
  return (
    name === 'localhost' ||
    name.endsWith('.localhost') ||
    name === '::1' ||
    (isIP(name) === 4 && name.startsWith('127.'))
  );
}

interface Host {
  /** Lower case, without a final dot, an IPv6 address without brackets. */
  readonly name: string;
  readonly port: number | undefined;
}

const HOST = /^(?:\[([0-9a-f:.]+)\]|([^\s:[\]/@?#\\]+))(?::(\d{1,5}))?$/i;

/** `example.com:3000` → `example.com` and 3000, `[::1]` → `::1`; undefined = not a host with an optional port. */
function parseHost(host: string): Host | undefined {
  const parts = host.length <= MAX_HOST_CHARS ? HOST.exec(host) : null;
  const name = parts?.[1] ?? parts?.[2];
  if (name === undefined) return undefined;
  return { name: withoutFinalDot(name.toLowerCase()), port: parts?.[3] === undefined ? undefined : Number(parts[3]) };
}
