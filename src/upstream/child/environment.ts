/**
 * The environment of a child: a short list of inherited variables, what its specification adds, and the mark. Nothing else of the hub's
 * own environment reaches a server (reliability S4: secrets of the hub and of other servers stay here).
 * Promises: pure; NODE_OPTIONS and MCPHUB_* are never inherited; the specification wins over what is inherited, the mark over both.
 */
import { DESCENDANT_MARK } from '../../kernel/guard-wire.ts';

const INHERITED = new Set([
  ...['HOME', 'USER', 'LOGNAME', 'SHELL', 'LANG', 'LANGUAGE', 'TZ', 'TMPDIR', 'TERM', 'HOSTNAME'],
  ...['HTTP_PROXY', 'HTTPS_PROXY', 'NO_PROXY', 'ALL_PROXY', 'http_proxy', 'https_proxy', 'no_proxy', 'all_proxy'],
  // Trust of this machine: a company's own authority is needed by children as well.
  ...['NODE_EXTRA_CA_CERTS', 'SSL_CERT_FILE', 'SSL_CERT_DIR'],
  // Where package runners keep what they fetched, and from where they fetch it. Tokens are not among them.
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
  /** What this process has. */
  readonly inherited: Readonly<Record<string, string | undefined>>;
  /** Of the specification; wins. */
  readonly own: Readonly<Record<string, string>>;
  readonly path: string;
  readonly mark: string;
}

export function childEnvironment({ inherited, own, path, mark }: EnvironmentParts): Record<string, string> {
  const env: Record<string, string> = {};
  for (const [name, value] of Object.entries(inherited)) {
    // Exported shell functions (`() {…`) are code, not values.
    if (value !== undefined && isInherited(name) && !value.startsWith('()')) env[name] = value;
  }
  env.PATH = path;
  Object.assign(env, own);
  env[DESCENDANT_MARK] = mark;
  return env;
}

function isInherited(name: string): boolean {
  if (INHERITED.has(name) || PREFIXES.some((prefix) => name.startsWith(prefix))) return true;
  return process.platform === 'win32' && WINDOWS.has(name.toUpperCase());
}
