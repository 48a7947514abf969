/**
 * Reads the settings that are not figures: allowed host names and origins, reverse proxies, and a few switches.
 * Environment over file.
 * Guarantees: host names are returned in lower case, without port and final dot, as `auth/` compares them; origins as
 * `origin-pattern.ts` compares them.
 */
import { isIP } from 'node:net';
import type { Snapshot } from '../model/snapshot.ts';
import type { Explained } from './explain.ts';
import type { ConfigPath } from './locate.ts';
import { type PatternRead, readOriginPattern, withoutFinalDot } from './origin-pattern.ts';
import { type Problems, quoted } from './problems.ts';
import type { Environment } from './variables.ts';

export interface SettingsInput {
  readonly file: {
    readonly allowedHosts?: readonly string[] | undefined;
    readonly allowedOrigins?: readonly string[] | undefined;
    readonly trustedProxies?: readonly string[] | undefined;
    readonly watchConfig?: boolean | undefined;
    readonly legacySse?: boolean | undefined;
    readonly keyInQuery?: boolean | undefined;
  };
  readonly env: Environment;
  readonly problems: Problems;
  readonly lineOf: (path: ConfigPath) => number;
}

type SettingName = 'allowedHosts' | 'allowedOrigins' | 'trustedProxies';
type SwitchName = 'watchConfig' | 'legacySse' | 'keyInQuery';

interface SettingRule {
  readonly name: SettingName;
  readonly variable: string;
  readonly expected: string;
  readonly read: (text: string) => SettingRead;
}

/** `expected` describes the valid form. */
type SettingRead = PatternRead | undefined;

const RULES: readonly SettingRule[] = [
  {
    name: 'allowedHosts',
    variable: 'MCPHUB_ALLOWED_HOSTS',
    expected: 'a host name such as "hub.example.com", or "*"',
    read: hostFrom,
  },
  {
    name: 'allowedOrigins',
    variable: 'MCPHUB_ALLOWED_ORIGINS',
    expected: 'an origin, or "*"',
    read: readOriginPattern,
  },
  {
    name: 'trustedProxies',
    variable: 'MCPHUB_TRUSTED_PROXIES',
    expected: 'an address such as "10.0.0.5", or a network such as "10.0.0.0/8" or "fd00::/8"',
    read: networkFrom,
  },
];

export interface SettingsRead {
  readonly settings: Snapshot['settings'];
  readonly watchConfig: boolean;
  readonly sources: readonly Explained[];
}

export function readSettings(input: SettingsInput): SettingsRead {
  const lists: Record<SettingName, readonly string[]> = {
    allowedHosts: [],
    allowedOrigins: [],
    trustedProxies: [],
  };
  const sources: Explained[] = [];
  for (const rule of RULES) {
    const { name, variable } = rule;
    const fromFile = input.file[name]?.map((text, at) => {
      const read = rule.read(text);
      if (isValue(read)) return read.value;
      input.problems.error(['settings', name, at], `is ${quoted(text)}`, read?.expected ?? rule.expected);
      return undefined;
    });
    const fromEnv = listFromVariable(rule, input);
    lists[name] = (fromEnv ?? fromFile ?? []).filter((value) => value !== undefined);
    const source = fromEnv ? 'env' : fromFile ? 'file' : 'default';
    sources.push({
      name: `settings.${name}`,
      value: lists[name].join(', '),
      source,
      unit: undefined,
      file: source === 'file' ? input.problems.file : undefined,
      line: source === 'file' ? input.lineOf(['settings', name]) : undefined,
      variable: source === 'env' ? variable : undefined,
    });
  }
  const on = (name: SwitchName): boolean => {
    const { value, source } = readSwitch(name, input);
    sources.push(source);
    return value;
  };
  const watchConfig = on('watchConfig');
  const settings = { ...lists, legacySse: on('legacySse'), keyInQuery: on('keyInQuery') };
  return { settings, watchConfig, sources };
}

const SWITCHES: Readonly<Record<SwitchName, { readonly variable: string; readonly standard: boolean }>> = {
  watchConfig: { variable: 'MCPHUB_WATCH_CONFIG', standard: true },
  legacySse: { variable: 'MCPHUB_LEGACY_SSE', standard: true },
  keyInQuery: { variable: 'MCPHUB_KEY_IN_QUERY', standard: false },
};
const SWITCH: Readonly<Record<string, boolean>> = { '1': true, true: true, '0': false, false: false };

function readSwitch(
  name: SwitchName,
  { file, env, problems, lineOf }: SettingsInput,
): { value: boolean; source: Explained } {
  const { variable, standard } = SWITCHES[name];
  const text = Object.hasOwn(env, variable) ? (env[variable]?.trim() ?? '') : '';
  const fromEnv = text !== '' && Object.hasOwn(SWITCH, text) ? SWITCH[text] : undefined;
  if (text !== '' && fromEnv === undefined) {
    const place = { file: 'environment', line: 0, column: 0, path: variable };
    problems.add({ severity: 'error', ...place, message: `holds ${quoted(text)}`, expected: '1 or 0' });
  }
  const value = fromEnv ?? file[name] ?? standard;
  const source = fromEnv !== undefined ? 'env' : file[name] !== undefined ? 'file' : 'default';
  return {
    value,
    source: {
      name: `settings.${name}`,
      value: String(value),
      source,
      unit: undefined,
      file: source === 'file' ? problems.file : undefined,
      line: source === 'file' ? lineOf(['settings', name]) : undefined,
      variable: source === 'env' ? variable : undefined,
    },
  };
}

function listFromVariable(rule: SettingRule, { env, problems }: SettingsInput): (string | undefined)[] | undefined {
  const text = Object.hasOwn(env, rule.variable) ? env[rule.variable]?.trim() : undefined;
  if (text === undefined || text === '') return undefined;
  const parts = text.split(',').map((part) => part.trim());
  return parts
    .filter((part) => part !== '')
    .map((part) => {
      const read = rule.read(part);
      if (isValue(read)) return read.value;
      const place = { file: 'environment', line: 0, column: 0, path: rule.variable };
      const expected = read?.expected ?? rule.expected;
      problems.add({ severity: 'error', ...place, message: `holds ${quoted(part)}`, expected });
      return undefined;
    });
}

function isValue(read: SettingRead): read is { readonly value: string } {
  return read !== undefined && 'value' in read;
}

function hostFrom(text: string): SettingRead {
  if (text === '*') return { value: text };
  if (!/^[^\s/@?#\\,*]+$/.test(text)) return undefined;
  const url = URL.parse(`http://${text}`);
  const name = url === null ? '' : withoutFinalDot(url.hostname.replace(/^\[|\]$/g, ''));
  return name === '' ? undefined : { value: name };
}

/** Reads an address, or a network as address and prefix length; refuses the network of all addresses. */
function networkFrom(text: string): SettingRead {
  const [address = '', bits, ...more] = text.split('/');
  const family = isIP(address);
  if (family === 0 || more.length > 0) return undefined;
  if (bits === undefined) return { value: address.toLowerCase() };
  const most = family === 4 ? 32 : 128;
  const isRight = /^\d{1,3}$/.test(bits) && Number(bits) >= 1 && Number(bits) <= most;
  return isRight ? { value: text.toLowerCase() } : undefined;
}
