/**
 * Tells which configured values are secrets: headers, environment values and addresses of servers, and values of
 * `${VAR}`. Ordinary settings (content types, variables such as `PATH`, words such as `production`) are not.
 */
import type { ServerSpec } from './snapshot.ts';

const ORDINARY_HEADERS = /^(accept|accept-language|content-type|user-agent|host|cache-control)$/i;
const ORDINARY_VARIABLES =
  /^(PATH|HOME|USER|LOGNAME|SHELL|PWD|TERM|TZ|LANG|LC_\w+|TMPDIR|HOSTNAME|HOST|PORT|NODE_ENV|NODE_OPTIONS|LOG_LEVEL|DEBUG|\w+_(DIR|DIRECTORY|HOST|PORT|MODE|LEVEL|TIMEOUT))$/;
const ORDINARY_WORDS = /^(production|development|disabled|required|localhost|streamable-http)$/i;
const SHORTEST = 8;

/** Tells whether a variable of this name usually has a value that is no secret. */
export function isOrdinaryVariable(name: string): boolean {
  return ORDINARY_VARIABLES.test(name);
}

/** Returns every secret value of these servers; some may occur twice. */
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

/** Returns the whole value, the credential after a scheme (`Bearer …`), and the decoded Basic credentials. */
function headerSecrets(headers: Readonly<Record<string, string>>): string[] {
  return Object.entries(headers).flatMap(([name, value]) => {
    if (ORDINARY_HEADERS.test(name)) return [];
    const [scheme = '', credential = ''] = value.trim().split(/\s+/, 2);
    if (scheme.toLowerCase() !== 'basic') return [value, credential];
    const pair = Buffer.from(credential, 'base64').toString('utf8');
    return [value, credential, pair, pair.slice(pair.indexOf(':') + 1)];
  });
}

/** Returns user, password and query values of an address; nothing when the text is not an address. */
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
