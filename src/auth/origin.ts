/**
 * Host and Origin: protection of a local hub against web pages (DNS rebinding), before anything else is looked at.
 * Promises: pure and from memory; a page of a foreign site cannot reach the hub through a browser.
 * Source: MCP specification, Streamable HTTP, security warning; docker/mcp-gateway CVE-2025-64443.
 * Does not: replace keys. Programs outside a browser send whatever they like.
 */
import { isIP } from 'node:net';
import { type Outcome, Refusal } from '../kernel/outcome.ts';

/** Names that only the own machine or a container's host can mean. */
const LOCAL_NAMES: ReadonlySet<string> = new Set(['localhost', 'host.docker.internal', 'host.containers.internal']);

/** Longest name of DNS, and a port. */
const MAX_HOST_CHARS = 260;

export interface OriginRules {
  /** Extra host names, lower case; `*` = any. */
  readonly allowedHosts: readonly string[];
  /** Extra origins such as `https://hub.example.com`; `*` = any. */
  readonly allowedOrigins: readonly string[];
}

/**
 * Checks Host and Origin; undefined = fine. A literal IP address as Host is fine: rebinding needs a name. An allowed host is fine as Origin with
 * https at the standard port, or at the host and port of the Host header; an allowed origin must match in scheme, host and port.
 */
export function checkOrigin(
  host: string | undefined,
  origin: string | undefined,
  rules: OriginRules,
): Outcome<undefined> {
  const asked = host === undefined ? undefined : parseHost(host);
  if (
    asked === undefined ||
    (!isLocalName(asked.name) &&
      isIP(asked.name) === 0 &&
      !rules.allowedHosts.includes(asked.name) &&
      !rules.allowedHosts.includes('*'))
  ) {
    return new Refusal(
      'host-refused',
      `Host ${JSON.stringify((host ?? '').slice(0, 100))} is not allowed here; add it to settings.allowedHosts or MCPHUB_ALLOWED_HOSTS.`,
    );
  }
  if (origin === undefined) return undefined;
  if (rules.allowedOrigins.includes('*') || rules.allowedOrigins.includes(origin)) return undefined;
  const from = parseOrigin(origin);
  if (from !== undefined && (isLocalOrigin(from.name) || isOwnOrigin(from, rules, asked))) return undefined;
  return new Refusal(
    'origin-refused',
    `Origin ${JSON.stringify(origin.slice(0, 100))} is not allowed here; add it to settings.allowedOrigins or MCPHUB_ALLOWED_ORIGINS.`,
  );
}

interface Origin {
  readonly isHttps: boolean;
  readonly name: string;
  readonly port: number;
}

/** A page of an allowed host: over TLS at the standard port, or from the very address that is asked. */
function isOwnOrigin({ isHttps, name, port }: Origin, rules: OriginRules, asked: Host): boolean {
  if (!rules.allowedHosts.includes(name)) return false;
  return (isHttps && port === 443) || (name === asked.name && port === (asked.port ?? (isHttps ? 443 : 80)));
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
  /** Lower case, an IPv6 address without brackets. */
  readonly name: string;
  readonly port: number | undefined;
}

const HOST = /^(?:\[([0-9a-f:.]+)\]|([^\s:[\]/@?#\\]+))(?::(\d{1,5}))?$/i;

/** `example.com:3000` → `example.com` and 3000, `[::1]` → `::1`; undefined = not a host with an optional port. */
function parseHost(host: string): Host | undefined {
  const parts = host.length <= MAX_HOST_CHARS ? HOST.exec(host) : null;
  const name = parts?.[1] ?? parts?.[2];
  if (name === undefined) return undefined;
  return { name: name.toLowerCase(), port: parts?.[3] === undefined ? undefined : Number(parts[3]) };
}

function parseOrigin(origin: string): Origin | undefined {
  if (origin.length > MAX_HOST_CHARS + 16 || !URL.canParse(origin)) return undefined;
  const { hostname, protocol, port } = new URL(origin);
  if (protocol !== 'http:' && protocol !== 'https:') return undefined;
  const isHttps = protocol === 'https:';
  const name = hostname.replace(/^\[|\]$/g, '').toLowerCase();
  return { isHttps, name, port: port === '' ? (isHttps ? 443 : 80) : Number(port) };
}
