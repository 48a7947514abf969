/**
 * Reports where configuration values come from: one row per limit and setting, and for what the file says about servers
 * and groups.
 * Guarantees: values of `env` and `headers` are shown as `***`, arguments as their number, addresses without user,
 * password and query; variables are shown unexpanded.
 */
import type { Unit } from './limits.ts';
import type { ConfigPath } from './locate.ts';
import { pathText } from './problems.ts';

export interface Explained {
  /** For example `limits.silenceMs` or `mcpServers.github.url`. */
  readonly name: string;
  readonly value: number | string;
  readonly source: 'default' | 'file' | 'env' | 'flag';
  readonly unit: Unit | undefined;
  readonly file: string | undefined;
  readonly line: number | undefined;
  /** The environment variable, when the value comes from one. */
  readonly variable: string | undefined;
}

const HIDDEN = '***';

/** Returns the rows of one configuration. */
export function explain(loaded: { readonly sources: readonly Explained[] }): readonly Explained[] {
  return loaded.sources;
}

export interface ExplainFile {
  readonly file: string;
  readonly lineOf: (path: ConfigPath) => number;
}

/** Returns rows for the part of the file under `path`, which was validated. */
export function explainPart(value: unknown, path: ConfigPath, source: ExplainFile): Explained[] {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
    return Object.entries(value).flatMap(([key, inner]) => explainPart(inner, [...path, key], source));
  }
  const shown = shownAt(value, path);
  if (shown === undefined) return [];
  const place = { file: source.file, line: source.lineOf(path), variable: undefined };
  return [{ name: pathText(path), value: shown, source: 'file', unit: undefined, ...place }];
}

/** Only keys whose values are never secret are shown. */
const SHOWN_KEYS: ReadonlySet<string> = new Set([
  'type',
  'command',
  'cwd',
  'enabled',
  'disabled',
  'interactive',
  'era',
  'getStream',
  'silenceMs',
  'totalMs',
  'callTimeoutMs',
  'inFlight',
  'startMs',
  'installMs',
]);

function shownAt(value: unknown, path: ConfigPath): number | string | undefined {
  if (path[0] === 'groups') return Array.isArray(value) ? value.map(String).join(', ') : String(value);
  const within = path[2] === 'launch' ? path.slice(3) : path.slice(2);
  const key = String(within.at(-1));
  if (within.length === 2 && (within[0] === 'env' || within[0] === 'headers')) return HIDDEN;
  if (Array.isArray(value)) return key === 'args' ? `${value.length} arguments` : undefined;
  if (key === 'url') return addressWithoutSecrets(String(value));
  if (!SHOWN_KEYS.has(key)) return undefined;
  // `command` may contain a whole command line with a key.
  return typeof value === 'number' ? value : String(value).replace(/\s-.*$/s, ` ${HIDDEN}`);
}

const PLAIN_HOST = /^(?:\[[0-9a-f:.]+\]|[\w.-]+|\$\{\w+\})(?::(?:\d+|\$\{\w+\}))?$/i;

/**
 * Returns an address without secrets: `https://user:pass@host/mcp?token=x` → `https://***@host/mcp?***`. Unusual paths
 * are hidden as well, because they may be secret.
 */
function addressWithoutSecrets(url: string): string {
  const [, scheme, authority = '', path = '', query = ''] = /^(https?:\/\/)([^/?#]*)([^?#]*)(.*)$/is.exec(url) ?? [];
  const at = authority.lastIndexOf('@');
  const host = authority.slice(at + 1);
  if (scheme === undefined || !PLAIN_HOST.test(host)) return HIDDEN;
  const shownPath = ['', '/', '/mcp', '/sse'].includes(path) ? path : `/${HIDDEN}`;
  return `${scheme}${at < 0 ? '' : `${HIDDEN}@`}${host}${shownPath}${query === '' ? '' : `?${HIDDEN}`}`;
}
