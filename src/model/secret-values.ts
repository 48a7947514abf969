/**
 * Which configured values are secrets: what servers are given in headers, environments and addresses, and what `${VAR}` stood for.
 * Ordinary settings (content types, paths in variables such as `PATH`, words such as `production`) are left readable.
 */
import type { ServerSpec } from './snapshot.ts';

const ORDINARY_HEADERS = /^(accept|accept-language|content-type|user-agent|host|cache-control)$/i;
const ORDINARY_VARIABLES =
  /^(PATH|HOME|USER|LOGNAME|SHELL|PWD|TERM|TZ|LANG|LC_\w+|TMPDIR|HOSTNAME|HOST|PORT|NODE_ENV|NODE_OPTIONS|LOG_LEVEL|DEBUG|\w+_(DIR|DIRECTORY|HOST|PORT|MODE|LEVEL|TIMEOUT))$/;
const ORDINARY_WORDS = /^(production|development|disabled|required|localhost|streamable-http)$/i;
const SHORTEST = 8;

/** Whether a variable of this name usually holds something that everybody may read. */
export function isOrdinaryVariable(name: string): boolean {
  return ORDINARY_VARIABLES.test(name);
}

/** Returns every value of these servers that must not be read by anybody; some twice. */
export function secretValuesOf(servers: readonly ServerSpec[]): string[] {
  return servers.flatMap(({ transport, inserted = [] }) => {
    const program = transport.kind === 'stdio' ? transport : transport.kind === 'http' ? transport.launch : undefined;
    const env = Object.entries(program?.env ?? {}).flatMap(([name, value]) =>
      isOrdinaryVariable(name) ? [] : [value, ...addressSecrets(value)],
    );
    const remote =
      transport.kind === 'stdio' ? [] : [...headerSecrets(transport.headers), ...addressSecrets(transport.url)];
    const args = (program?.args ?? []).flatMap(addressSecrets);
    return [...env, ...remote, ...args, ...inserted].filter(isSecret);
  });
}

/** Returns user names and passwords in the addresses of proxies. */
export function proxySecrets(env: Readonly<Record<string, string | undefined>>): string[] {
  return Object.entries(env).flatMap(([name, value]) => (/_proxy$/i.test(name) ? addressSecrets(value ?? '') : []));
}

function isSecret(value: string): boolean {
  return value.length >= SHORTEST && !ORDINARY_WORDS.test(value);
}

/** The whole value, the credential after a scheme (`Bearer …`), and what Basic credentials decode to. */
function headerSecrets(headers: Readonly<Record<string, string>>): string[] {
  return Object.entries(headers).flatMap(([name, value]) => {
    if (ORDINARY_HEADERS.test(name)) return [];
    const [scheme = '', credential = ''] = value.trim().split(/\s+/, 2);
    if (scheme.toLowerCase() !== 'basic') return [value, credential];
    const pair = Buffer.from(credential, 'base64').toString('utf8');
    return [value, credential, pair, pair.slice(pair.indexOf(':') + 1)];
  });
}

/** User, password and values of the query of an address; nothing for a text that is none. */
function addressSecrets(text: string): string[] {
  if (!text.includes('://')) return [];
  const url = URL.parse(text);
  if (url === null) return [];
  const { username, password, searchParams } = url;
  return [username, password, plain(username), plain(password), ...searchParams.values()].filter(isSecret);
}

function plain(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
