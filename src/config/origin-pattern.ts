/**
 * Parses and matches the entries of `allowedOrigins` in the form that browsers and desktop apps send (RFC 6454, section
 * 6.2): `https://hub.example.com`, `http://localhost:*`, `https://*.example.com`, `app://obsidian.md`,
 * `vscode-webview://*`. An entry that no request can match is refused.
 */
import { isIP } from 'node:net';

/** Longest scheme, DNS name and port together. */
const MAX_CHARS = 300;
const ORIGIN = /^([a-z][a-z0-9+.-]*):\/\/(\[[0-9a-f:.]+\]|[^\s:/?#@\\[\],]+)(?::(\d{1,5}))?$/;
const PATTERN = /^([a-z][a-z0-9+.-]*):\/\/(\[[0-9a-f:.]+\]|[^\s:/?#@\\[\],]+)(?::(\d{1,5}|\*))?\/?$/;
const DEFAULT_PORT: Readonly<Record<string, string>> = { http: '80', https: '443' };

export interface Origin {
  readonly scheme: string;
  /** Lower case; an IPv6 address without brackets; without a final dot where the scheme uses DNS names. */
  readonly name: string;
  /** Empty when no port is given and the scheme has no default. */
  readonly port: string;
}

/** Returns the parts of an Origin header, or undefined when it is opaque (`null`) or malformed. */
export function parseOrigin(text: string): Origin | undefined {
  return text.length > MAX_CHARS ? undefined : partsOf(ORIGIN.exec(text.toLowerCase()));
}

function partsOf(parts: RegExpExecArray | null): Origin | undefined {
  const [, scheme = '', host = '', port] = parts ?? [];
  const standard = DEFAULT_PORT[scheme];
  const name = host.replace(/^\[|\]$/g, '');
  // `app://.` is a valid origin.
  const plain = standard === undefined ? name : withoutFinalDot(name);
  return plain === '' ? undefined : { scheme, name: plain, port: port ?? standard ?? '' };
}

/** Returns a host name without the dot that ends an absolute DNS name. */
export function withoutFinalDot(name: string): string {
  return name.endsWith('.') ? name.slice(0, -1) : name;
}

export type PatternRead = { readonly value: string } | { readonly expected: string };

/**
 * Converts an entry of `allowedOrigins` to the form that `matchesOrigin` compares; `expected` tells why it can never
 * match.
 */
export function readOriginPattern(text: string): PatternRead {
  if (text === '*') return { value: text };
  const lower = text.toLowerCase();
  if (lower === 'null' || lower.startsWith('file:'))
    return {
      expected: 'an origin of one site or app: pages of any origin can send "null", and files have no origin',
    };
  const parts = text.length > MAX_CHARS ? undefined : partsOf(PATTERN.exec(lower));
  if (parts === undefined)
    return {
      expected:
        'scheme, host and port, such as "https://hub.example.com", "http://localhost:*", "app://obsidian.md", or "*"',
    };
  const isWeb = DEFAULT_PORT[parts.scheme] !== undefined;
  const name = isWeb ? webName(parts.name) : parts.name;
  if (name === undefined || !isWildcardRight(name, isWeb))
    return {
      expected:
        'one "*" in place of the first labels ("https://*.example.com"), of the port ("http://localhost:*"), ' +
        'or of the host of an app\'s scheme ("vscode-webview://*")',
    };
  const host = isIP(name) === 6 ? `[${name}]` : name;
  const isDefault = parts.port === '' || parts.port === DEFAULT_PORT[parts.scheme];
  return { value: `${parts.scheme}://${host}${isDefault ? '' : `:${parts.port}`}` };
}

/** Returns the name as browsers send it, in Punycode, or undefined when it is neither a DNS name nor an address. */
function webName(name: string): string | undefined {
  const start = name.startsWith('*.') ? '*.' : '';
  const host = name.slice(start.length);
  if (isIP(host) === 6) return start === '' ? URL.parse(`http://[${host}]`)?.hostname.slice(1, -1) : undefined;
  const url = host.includes('*') ? null : URL.parse(`http://${host}`);
  return url === null ? undefined : start + withoutFinalDot(url.hostname);
}

function isWildcardRight(name: string, isWeb: boolean): boolean {
  if (!name.includes('*')) return true;
  if (name === '*') return !isWeb;
  const rest = name.slice(2);
  return name.startsWith('*.') && rest !== '' && !rest.startsWith('.') && !rest.includes('*') && isIP(rest) === 0;
}

/**
 * Returns true when an entry of `allowedOrigins`, as `readOriginPattern` returns it, matches this origin. `*.` stands
 * for one or more labels.
 */
export function matchesOrigin(pattern: string, { scheme, name, port }: Origin): boolean {
  const parts = partsOf(PATTERN.exec(pattern));
  if (parts === undefined || parts.scheme !== scheme) return false;
  if (parts.port !== '*' && parts.port !== port) return false;
  if (parts.name === name || parts.name === '*') return true;
  return parts.name.startsWith('*.') && name.length > parts.name.length - 1 && name.endsWith(parts.name.slice(1));
}
