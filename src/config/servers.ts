/**
 * Converts the servers of the file to what a link needs: resolves aliases, expands variables, checks times and sizes.
 * `control/` adds short names, owner workers and hashes.
 * Guarantees: the original's forms are accepted; an invalid server is reported and left out of the result; all others
 * are still read, so that all errors show at once.
 */
// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the notation of the file is meant
import { dirname, isAbsolute, join } from 'node:path';
import type { ProcessSpec, ServerSpec } from '../model/snapshot.ts';
import { readCallTimes, readFigure, readTools } from './call-times.ts';
import { missingForContainer, ownLabel } from './container-command.ts';
import { LIMITS } from './limits.ts';
import type { ConfigPath } from './locate.ts';
import { type Problems, quoted } from './problems.ts';
import { FOREIGN_SERVER_KEYS, type RawLaunch, type RawServer, SERVER_TYPES, type ServerKind } from './schema.ts';
import { readEnvironment, readHeaders, readText, type TextRules } from './server-texts.ts';
import type { Environment } from './variables.ts';

/** A server as configured; control adds its short name, owner worker and hash. */
export type ServerConfig = Omit<ServerSpec, 'slug' | 'homeHub' | 'hash'>;

export interface ServerContext {
  readonly problems: Problems;
  readonly env: Environment;
  /** The file; relative directories are relative to its directory. */
  readonly file: string;
  /** Port of this hub, to detect a server that leads back to it. */
  readonly ownPort: number;
}

const PORT_ONLY: ReadonlySet<string> = new Set(['PORT']);
const NOTHING: ReadonlySet<string> = new Set();

/** Returns the server, or undefined when it is invalid or not supported by this version (reported as a warning). */
export function readServer(name: string, raw: RawServer, context: ServerContext): ServerConfig | undefined {
  const { problems } = context;
  const path: ConfigPath = ['mcpServers', name];
  const errorsBefore = problems.errors;
  const isEnabled = readEnabled(raw, path, problems);
  for (const key of Object.keys(FOREIGN_SERVER_KEYS) as (keyof typeof FOREIGN_SERVER_KEYS)[]) {
    if (raw[key] !== undefined) problems.warning([...path, key], 'has no effect here', undefined, 'key');
  }
  const kind = kindOf(raw, path, problems);
  if (kind === 'openapi') {
    problems.warning([...path, 'type'], 'OpenAPI servers are not served in this version; this one is left out');
    return undefined;
  }
  const kept = raw.launch === undefined ? NOTHING : PORT_ONLY;
  const inserted = new Set<string>(); // bounded by: the file
  const rules: TextRules = { problems, env: context.env, isEnabled, kept, inserted: (value) => inserted.add(value) };
  const transport = kind === undefined ? undefined : readTransport(kind, raw, { path, rules, context });
  const server = {
    name,
    enabled: isEnabled,
    interactive: raw.interactive ?? false,
    era: raw.era ?? 'auto',
    times: readCallTimes(withOriginalTimes(raw, path, problems), path, problems),
    inFlight: readFigure(raw.inFlight, [...path, 'inFlight'], { rule: LIMITS.serverInFlight, problems }),
    startMs: readFigure(raw.startMs, [...path, 'startMs'], { rule: LIMITS.startMs, problems }),
    installMs: readFigure(raw.installMs, [...path, 'installMs'], { rule: LIMITS.installMs, problems }),
    tools: readTools(raw.tools, [...path, 'tools'], problems),
  };
  if (transport === undefined || problems.errors > errorsBefore) return undefined;
  return { ...server, transport, ...(inserted.size === 0 ? {} : { inserted: [...inserted] }) };
}

function readEnabled(raw: RawServer, path: ConfigPath, problems: Problems): boolean {
  if (raw.enabled !== undefined && raw.enabled === raw.disabled) {
    problems.error([...path, 'disabled'], `contradicts enabled: ${raw.enabled}`, 'one of the two');
  }
  return raw.enabled ?? !(raw.disabled ?? false);
}

/** Converts `options` of the original, which are milliseconds of its SDK. */
function withOriginalTimes(raw: RawServer, path: ConfigPath, problems: Problems): RawServer {
  const { options } = raw;
  if (options === undefined) return raw;
  const place = [...path, 'options'];
  problems.warning(place, 'is the original’s form', 'silenceMs for timeout, totalMs for maxTotalTimeout', 'key');
  const silenceMs = raw.silenceMs ?? inRange(options.timeout, LIMITS.silenceMs);
  const totalMs = raw.totalMs ?? inRange(options.maxTotalTimeout, LIMITS.totalMs);
  return { ...raw, silenceMs, totalMs };
}

function inRange(value: number | undefined, { min, max }: { min: number; max: number }): number | undefined {
  return value === undefined || !Number.isFinite(value) ? undefined : Math.round(Math.min(Math.max(value, min), max));
}

function kindOf(raw: RawServer, path: ConfigPath, problems: Problems): ServerKind | undefined {
  const kind = raw.type === undefined ? undefined : SERVER_TYPES[raw.type];
  if (kind === 'openapi') return kind;
  if (kind === undefined && raw.command === undefined && raw.url === undefined) {
    problems.error(path, 'has neither command nor url', 'a command (stdio) or a url (remote)', 'key');
    return undefined;
  }
  const isStdio = kind === 'stdio' || (kind === undefined && raw.command !== undefined);
  const foreign = isStdio ? (['url', 'headers', 'launch'] as const) : (['command'] as const);
  for (const key of foreign) {
    if (raw[key] === undefined) continue;
    const message = isStdio ? 'does not go with a stdio server' : 'does not go with a remote server';
    const expected =
      key === 'headers' ? undefined : 'either command or url; launch for a program that listens at the url';
    problems.error([...path, key], message, expected, 'key');
  }
  const needed = isStdio ? 'command' : 'url';
  if (raw[needed] === undefined) problems.error([...path, needed], 'is missing', `a ${needed} for this type of server`);
  if (isStdio) return 'stdio';
  for (const key of ['args', 'env', 'cwd'] as const) {
    if (raw[key] !== undefined) problems.warning([...path, key], 'has no effect on a remote server', undefined, 'key');
  }
  return kind ?? 'remote';
}

interface Reading {
  readonly path: ConfigPath;
  readonly rules: TextRules;
  readonly context: ServerContext;
}

function readTransport(
  given: Exclude<ServerKind, 'openapi'>,
  raw: RawServer,
  reading: Reading,
): ServerConfig['transport'] | undefined {
  const { path, rules } = reading;
  if (given === 'stdio') {
    const { command, args, env, cwd } = raw;
    return command === undefined ? undefined : { kind: given, ...readProcess({ command, args, env, cwd }, reading) };
  }
  const headers = readHeaders(raw.headers, [...path, 'headers'], rules);
  const url = raw.url === undefined ? undefined : readAddress(raw.url, reading);
  const kind = given === 'remote' ? (looksLikeSse(url) ? 'sse' : 'http') : given;
  if (kind === 'sse') {
    if (raw.launch !== undefined) {
      rules.problems.error([...path, 'launch'], 'does not go with an sse server', 'type "streamable-http"', 'key');
    }
    return url === undefined ? undefined : { kind, url, headers };
  }
  const launchReading = { ...reading, path: [...path, 'launch'] };
  const launch = raw.launch === undefined ? undefined : readProcess(raw.launch, launchReading);
  if (url === undefined) return undefined;
  const http = { kind, url, headers, launch, ...(raw.getStream === false ? { getStream: false as const } : {}) };
  return given === 'remote' && launch === undefined ? { ...http, untyped: true } : http;
}

/** Returns true for the usual path of the SSE transport. The original took every address without a type for one. */
function looksLikeSse(url: string | undefined): boolean {
  return url !== undefined && /\/sse\/?(?:[?#]|$)/.test(url);
}

function readProcess(raw: RawLaunch, { path, rules, context }: Reading): ProcessSpec {
  const command = readText(raw.command, [...path, 'command'], rules);
  if (command.trim() === '') rules.problems.error([...path, 'command'], 'is empty', 'the name or path of a program');
  if (raw.args === undefined && /^[\w.-]+ +\S/.test(raw.command)) {
    rules.problems.warning(
      [...path, 'command'],
      'looks like a whole command line',
      'the program here, its arguments in args',
    );
  }
  const args = (raw.args ?? []).map((text, at) => readText(text, [...path, 'args', at], rules));
  const missing = missingForContainer(command, args);
  if (missing !== undefined) {
    const message = 'start a container that may stay when the server is stopped or started again';
    rules.problems.warning([...path, 'args'], message, missing);
  }
  const label = ownLabel(command, args);
  if (label !== undefined) {
    const message = 'sets a label by which the hub finds containers that outlive their client; they will not be found';
    rules.problems.warning([...path, 'args', label], message, 'a label that does not begin with mcphub.');
  }
  return {
    command,
    args,
    env: readEnvironment(raw.env, [...path, 'env'], rules),
    cwd: directoryFrom(raw.cwd === undefined ? '' : readText(raw.cwd, [...path, 'cwd'], rules), context.file),
  };
}

function directoryFrom(cwd: string, file: string): string {
  return isAbsolute(cwd) ? cwd : join(dirname(file), cwd);
}

function readAddress(written: string, { path, rules, context }: Reading): string | undefined {
  const errorsBefore = rules.problems.errors;
  const place = [...path, 'url'];
  const address = readText(written, place, rules);
  if (rules.problems.errors > errorsBefore) return undefined;
  const url = URL.parse(rules.kept.has('PORT') ? address.replaceAll('${PORT}', '1') : address);
  if (url === null || !/^https?:$/.test(url.protocol)) {
    if (!rules.isEnabled) return address;
    rules.problems.error(place, 'is not a web address', 'http://… or https://…');
    return undefined;
  }
  const isOwn = Number(url.port) === context.ownPort && /^(?:localhost|127\.\d+\.\d+\.\d+|\[::1\])$/.test(url.hostname);
  if (isOwn && /^\/mcp(?:\/|$)/.test(url.pathname)) rules.problems.warning(place, 'is the address of this hub itself');
  return address;
}

const MAX_NAME = 200;

/** Returns true when the name is valid for a server or group. All letters are allowed. */
export function checkName(name: string, path: ConfigPath, problems: Problems): boolean {
  const isFit = name.trim() !== '' && name.length <= MAX_NAME && !/\p{Cc}/u.test(name);
  if (!isFit)
    problems.error(path, `${quoted(name)} is not a valid name`, `1 to ${MAX_NAME} characters, any letters`, 'key');
  return isFit;
}
