/**
 * Builds the environment of a child: a short list of inherited variables, those of its specification, and the mark.
 * NODE_OPTIONS, MCPHUB_* and other variables of the hub are never passed on. Credentials in inherited addresses are
 * removed.
 */
import { DESCENDANT_MARK } from '../../model/supervisor-messages.ts';

const INHERITED = new Set([
  ...['HOME', 'USER', 'LOGNAME', 'SHELL', 'LANG', 'LANGUAGE', 'TZ', 'TMPDIR', 'TERM', 'HOSTNAME'],
  ...['HTTP_PROXY', 'HTTPS_PROXY', 'NO_PROXY', 'ALL_PROXY', 'http_proxy', 'https_proxy', 'no_proxy', 'all_proxy'],
  // Trust settings of this machine: children need a company's own certificate authority as well.
  ...['NODE_EXTRA_CA_CERTS', 'SSL_CERT_FILE', 'SSL_CERT_DIR'],
  // Where package runners keep and fetch packages. Tokens are not included.
  ...['npm_config_cache', 'npm_config_registry', 'npm_config_prefix', 'npm_config_userconfig', 'npm_config_offline'],
  ...['npm_config_prefer_offline', 'npm_config_cafile', 'NPM_CONFIG_USERCONFIG', 'PNPM_HOME', 'NVM_DIR', 'VOLTA_HOME'],
  ...['UV_CACHE_DIR', 'UV_TOOL_DIR', 'UV_PYTHON_INSTALL_DIR', 'UV_OFFLINE', 'UV_DEFAULT_INDEX', 'PIP_INDEX_URL'],
  // Without a socket address docker servers do not start.
  ...['DOCKER_HOST', 'DOCKER_CONFIG', 'DOCKER_CONTEXT'],
]);
const WINDOWS = new Set([
  ...['SYSTEMROOT', 'WINDIR', 'SYSTEMDRIVE', 'COMSPEC', 'PATHEXT', 'TEMP', 'TMP', 'USERPROFILE', 'USERNAME'],
  ...['HOMEDRIVE', 'HOMEPATH', 'APPDATA', 'LOCALAPPDATA', 'PROGRAMDATA', 'PROGRAMFILES', 'PROCESSOR_ARCHITECTURE'],
]);
const PREFIXES = ['LC_', 'XDG_'];

export interface EnvironmentParts {
  /** The environment of this process. */
  readonly inherited: Readonly<Record<string, string | undefined>>;
  /** From the specification; overrides the others. */
  readonly own: Readonly<Record<string, string>>;
  readonly path: string;
  readonly mark: string;
}

export interface ChildEnvironment {
  readonly env: Record<string, string>;
  /** Inherited variables whose address lost a user name or password, sorted. */
  readonly stripped: readonly string[];
}

/**
 * Returns the environment of one child. The specification overrides inherited variables, the mark overrides both. Pure.
 */
export function childEnvironment({ inherited, own, path, mark }: EnvironmentParts): ChildEnvironment {
  const env: Record<string, string> = {};
  const stripped: string[] = []; // bounded by: INHERITED
  for (const [name, value] of Object.entries(inherited)) {
    // Exported shell functions (`() {…`) are code, not values.
    if (value === undefined || !isInherited(name) || value.startsWith('()')) continue;
    const clean = withoutCredentials(name, value);
    if (clean !== value && own[name] === undefined) stripped.push(name);
    env[name] = clean;
  }
  env.PATH = path;
  Object.assign(env, own);
  env[DESCENDANT_MARK] = mark;
  return { env, stripped: stripped.sort() };
}

/** Variables that many programs read and that are not inherited. */
const KNOWN = new Set([
  ...[
    'DISPLAY',
    'WAYLAND_DISPLAY',
    'XAUTHORITY',
    'DBUS_SESSION_BUS_ADDRESS',
    'SSH_AUTH_SOCK',
    'KUBECONFIG',
    'JAVA_HOME',
  ],
  ...['REQUESTS_CA_BUNDLE', 'CURL_CA_BUNDLE', 'UV_INDEX_URL', 'PYTHONPATH', 'GOOGLE_APPLICATION_CREDENTIALS'],
]);
const KNOWN_PREFIXES = ['AWS_', 'AZURE_', 'GOOGLE_', 'GCLOUD_', 'OPENAI_', 'ANTHROPIC_', 'GITHUB_'];
const VARIABLE = /\b[A-Z][A-Z0-9]{0,60}(?:_[A-Z0-9]{1,60}){0,8}\b/g;
const NAMED = 3;

/**
 * Returns a hint about variables named in a program's last lines that are neither inherited nor set; empty when there
 * are none.
 */
export function notInheritedHint(
  words: string,
  { inherited, own }: Pick<EnvironmentParts, 'inherited' | 'own'>,
): string {
  const named = [...new Set(words.match(VARIABLE) ?? [])].filter(
    (name) => own[name] === undefined && !isInherited(name) && name !== 'PATH' && !name.startsWith('MCPHUB_'),
  );
  const found = named.filter(
    (name) => inherited[name] !== undefined || KNOWN.has(name) || KNOWN_PREFIXES.some((one) => name.startsWith(one)),
  );
  if (found.length === 0) return '';
  return ` Servers do not inherit ${found.slice(0, NAMED).join(', ')} from the hub: set what this one needs in its "env" (docs/config.md).`;
}

/** Returns a hint when an install or a start may have failed for removed credentials; empty when none were removed. */
export function strippedHint(stripped: readonly string[]): string {
  if (stripped.length === 0) return '';
  return ` Credentials in ${stripped.join(', ')} are not passed on to servers; if this one needs them, set the variable in "env" of the server.`;
}

/** Addresses of proxies and registries: the only inherited values that commonly contain a password. */
const ADDRESSES = /^(https?|all)_proxy$|registry$|index(_url)?$/i;
/** The part before the last `@` of the authority; the scheme may be missing, as in `user:password@proxy:3128`. */
const USER_INFO = /^([a-z][a-z0-9+.-]*:\/\/)?[^/?#\s]*@/i;

function withoutCredentials(name: string, value: string): string {
  if (ADDRESSES.test(name)) return value.replace(USER_INFO, '$1');
  // In other variables (DOCKER_HOST=ssh://user@host) a user name without a password is no secret.
  return value.replace(/^([a-z][a-z0-9+.-]*:\/\/)[^/?#\s:@]*:[^/?#\s]*@/i, '$1');
}

function isInherited(name: string): boolean {
  if (INHERITED.has(name) || PREFIXES.some((prefix) => name.startsWith(prefix))) return true;
  return process.platform === 'win32' && WINDOWS.has(name.toUpperCase());
}
