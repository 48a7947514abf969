/**
 * Checks Host and Origin before anything else, to protect a local hub against web pages (DNS rebinding). It does not
 * replace keys: programs other than browsers can send any header.
 * Guarantees: pure and from memory; a page of another site cannot reach the hub through a browser.
 * Source: MCP specification, Streamable HTTP, security warning; docker/mcp-gateway CVE-2025-64443.
 */
import { isIP } from 'node:net';
import { matchesOrigin, type Origin, parseOrigin, withoutFinalDot } from '../config/origin-pattern.ts';
import { type Outcome, Refusal } from '../model/outcome.ts';

/** Names that can only mean this machine, or the host of a container. */
const LOCAL_NAMES: ReadonlySet<string> = new Set(['localhost', 'host.docker.internal', 'host.containers.internal']);

/** Longest DNS name with a port. */
const MAX_HOST_CHARS = 260;

export interface OriginRules {
  /** Additional host names, lower case; `*` allows any. */
  readonly allowedHosts: readonly string[];
  /** Additional origins as `config/origin-pattern.ts` parses them; `*` allows any. */
  readonly allowedOrigins: readonly string[];
}

/** What a request tells about its target and the page that sent it. */
export interface Asked {
  readonly host: string | undefined;
  readonly origin: string | undefined;
  /**
   * Sec-Fetch-Site, by which a browser identifies the page when it sends no Origin (GET of an image, a frame, or a
   * fetch without CORS).
   */
  readonly fetchSite?: string | undefined;
  /** True for HTTP/1.0, which browsers do not use and which does not require Host. */
  readonly isHttp10?: boolean;
}

/** Checks Host and Origin. Returns undefined when both are allowed. */
export function checkOrigin(asked: Asked, rules: OriginRules): Outcome<undefined> {
  return checkHost(asked, rules) ?? (isOriginAllowed(asked, rules) ? undefined : originRefused(asked.origin));
}

/** Refuses a Host with an unknown name. IP addresses are allowed, because rebinding needs a name. */
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
    `Host ${shown} is not allowed; add it to settings.allowedHosts or MCPHUB_ALLOWED_HOSTS.`,
  );
}

/**
 * Returns true for a request without a page, and for one of an allowed page. An allowed host is a valid Origin with
 * https at the standard port, or at the host and port of the Host header; an allowed origin must match in scheme, host
 * and port.
 */
export function isOriginAllowed({ host, origin, fetchSite }: Asked, rules: OriginRules): boolean {
  if (rules.allowedOrigins.includes('*')) return true;
  // Without an Origin the page of another site is unknown; it could not read the response anyway.
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
    `Origin ${JSON.stringify(origin.slice(0, 100))} is not allowed; add it to settings.allowedOrigins or MCPHUB_ALLOWED_ORIGINS.`,
  );
}

/** Returns true for a page of an allowed host: over TLS at the standard port, or at the requested address. */
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

/**
 * Returns true when a Host header names the loopback of this machine: `localhost`, 127.0.0.0/8 or ::1, with or without
 * a port.
 */
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
  /** Lower case, without a final dot; an IPv6 address without brackets. */
  readonly name: string;
  readonly port: number | undefined;
}

const HOST = /^(?:\[([0-9a-f:.]+)\]|([^\s:[\]/@?#\\]+))(?::(\d{1,5}))?$/i;

/**
 * Parses a host with an optional port: `example.com:3000` → `example.com` and 3000, `[::1]` → `::1`. Returns undefined
 * for anything else.
 */
function parseHost(host: string): Host | undefined {
  const parts = host.length <= MAX_HOST_CHARS ? HOST.exec(host) : null;
  const name = parts?.[1] ?? parts?.[2];
  if (name === undefined) return undefined;
  return { name: withoutFinalDot(name.toLowerCase()), port: parts?.[3] === undefined ? undefined : Number(parts[3]) };
}
