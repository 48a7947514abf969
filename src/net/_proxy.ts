/**
 * Decides which proxy is used for a URL: HTTP_PROXY, HTTPS_PROXY and NO_PROXY (lower case wins), read once at start.
 * `_connector.ts` talks to the proxy.
 * Guarantees: pure; loopback addresses never use a proxy; an invalid proxy URL is refused at start without showing its
 * value.
 */
import { HubError } from '../model/errors.ts';
import { addressClass } from './address-class.ts';
import { basicLogin } from './header-value.ts';

export interface HttpProxy {
  readonly host: string;
  readonly port: number;
  /** True when the connection to the proxy itself uses TLS. */
  readonly secure: boolean;
  /** Value of Proxy-Authorization; undefined when there is none. */
  readonly authorization: string | undefined;
}

export type ProxyRule = (url: URL) => HttpProxy | undefined;

interface Exception {
  readonly host: string;
  readonly port: string;
}

/** Returns the proxy rule of an environment. Throws `config-invalid` for a proxy URL that is not http: or https:. */
export function proxyRuleFrom(env: Readonly<Record<string, string | undefined>>): ProxyRule {
  const forHttp = proxyFrom('HTTP_PROXY', env.http_proxy ?? env.HTTP_PROXY);
  const forHttps = proxyFrom('HTTPS_PROXY', env.https_proxy ?? env.HTTPS_PROXY);
  const exceptions = exceptionsFrom(env.no_proxy ?? env.NO_PROXY ?? '');
  return (url) => {
    const proxy = url.protocol === 'https:' ? forHttps : forHttp;
    return proxy && !isLoopback(bareHost(url)) && !isExcepted(url, exceptions) ? proxy : undefined;
  };
}

/** Returns the host of a URL without the brackets of IPv6. */
export function bareHost(url: URL): string {
  return url.hostname.replace(/^\[|\]$/g, '');
}

export function portOf(url: URL): number {
  return url.port === '' ? (url.protocol === 'https:' ? 443 : 80) : Number(url.port);
}

function proxyFrom(name: string, value: string | undefined): HttpProxy | undefined {
  if (value === undefined || value.trim() === '') return undefined;
  const text = value.includes('://') ? value.trim() : `http://${value.trim()}`;
  if (!URL.canParse(text)) throw new HubError('config-invalid', { message: `${name} is not a URL.` });
  const url = new URL(text);
  if (url.protocol !== 'http:' && url.protocol !== 'https:')
    throw new HubError('config-invalid', { message: `${name}: only http and https proxies are served.` });
  return {
    host: bareHost(url),
    port: portOf(url),
    secure: url.protocol === 'https:',
    authorization: basicLogin(url),
  };
}

function exceptionsFrom(text: string): readonly Exception[] {
  return text
    .split(/[\s,]+/)
    .filter((entry) => entry !== '')
    .map((entry) => {
      const match = /^(?:\[([^\]]+)\]|([^:]+))(?::(\d+))?$/.exec(entry);
      const host = (match?.[1] ?? match?.[2] ?? entry).toLowerCase();
      return { host: host.replace(/^\*(?=\.)/, ''), port: match?.[3] ?? '' };
    });
}

function isExcepted(url: URL, exceptions: readonly Exception[]): boolean {
  const host = bareHost(url).toLowerCase();
  const port = String(portOf(url));
  return exceptions.some((exception) => {
    if (exception.port !== '' && exception.port !== port) return false;
    if (exception.host === '*' || exception.host === host) return true;
    const suffix = exception.host.startsWith('.') ? exception.host : `.${exception.host}`;
    return host.endsWith(suffix) || `.${host}` === suffix;
  });
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host.endsWith('.localhost') || addressClass(host) === 'loopback';
}
