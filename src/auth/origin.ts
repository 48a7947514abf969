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

export interface OriginRules {
  /** Extra host names, lower case; `*` = any. */
  readonly allowedHosts: readonly string[];
  /** Extra origins such as `https://hub.example.com`; `*` = any. */
  readonly allowedOrigins: readonly string[];
}

/** Undefined = fine. A literal IP address as Host is fine: rebinding needs a name. */
export function checkOrigin(
  host: string | undefined,
  origin: string | undefined,
  rules: OriginRules,
): Outcome<undefined> {
  const name = host === undefined ? '' : nameFrom(host);
  if (
    !isLocalName(name) &&
    isIP(name) === 0 &&
    !rules.allowedHosts.includes(name) &&
    !rules.allowedHosts.includes('*')
  ) {
    return new Refusal(
      'host-refused',
      `Host ${JSON.stringify(host ?? '')} is not allowed here; add it to settings.allowedHosts or MCPHUB_ALLOWED_HOSTS.`,
    );
  }
  if (origin === undefined) return undefined;
  if (rules.allowedOrigins.includes('*') || rules.allowedOrigins.includes(origin)) return undefined;
  const originName = originNameFrom(origin);
  if (
    originName !== undefined &&
    (isLocalName(originName) ||
      originName === '127.0.0.1' ||
      originName === '::1' ||
      rules.allowedHosts.includes(originName))
  ) {
    return undefined;
  }
  return new Refusal(
    'origin-refused',
    `Origin ${JSON.stringify(origin)} is not allowed here; add it to settings.allowedOrigins or MCPHUB_ALLOWED_ORIGINS.`,
  );
}

function isLocalName(name: string): boolean {
  return LOCAL_NAMES.has(name) || name.endsWith('.localhost');
}

/** `example.com:3000` → `example.com`, `[::1]:3000` → `::1`. */
function nameFrom(host: string): string {
  if (host.startsWith('[')) return host.slice(1, Math.max(1, host.indexOf(']'))).toLowerCase();
  const colon = host.lastIndexOf(':');
  return (colon > 0 ? host.slice(0, colon) : host).toLowerCase();
}

function originNameFrom(origin: string): string | undefined {
  if (!URL.canParse(origin)) return undefined;
  const { hostname, protocol } = new URL(origin);
  if (protocol !== 'http:' && protocol !== 'https:') return undefined;
  return hostname.replace(/^\[|\]$/g, '').toLowerCase();
}
