/**
 * Expands variables in the texts of one server (arguments, environment, addresses, headers) and checks the results.
 * Guarantees: a problem names the server, the key and the variable, never a value; a disabled server with missing
 * variables causes only a warning, because it is not started.
 */
// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the notation of the file is meant
import type { ConfigPath } from './locate.ts';
import type { Problems } from './problems.ts';
import { type Environment, expandVariables } from './variables.ts';

export type Plain = string | number | boolean;

export interface TextRules {
  readonly problems: Problems;
  readonly env: Environment;
  readonly isEnabled: boolean;
  /** Variables that are left in place until the server starts. */
  readonly kept: ReadonlySet<string>;
  /** Called with each value that a variable had. */
  readonly inserted: (value: string) => void;
}

const WHOLE_BARE_VARIABLE = /^\$[A-Z_][A-Z0-9_]*$/;

export function readText(
  given: Plain,
  path: ConfigPath,
  { problems, env, isEnabled, kept, inserted }: TextRules,
): string {
  const written = String(given);
  const { text, missing, inserted: values, malformed } = expandVariables(written, env, kept);
  for (const value of values) inserted(value);
  for (const name of new Set(missing)) {
    const expected = `a value in the environment, or \${${name}:-a default}`;
    const message = `the variable ${name} is not set`;
    if (isEnabled) problems.error(path, message, expected);
    else problems.warning(path, `${message} (the server is disabled)`, expected);
  }
  if (malformed)
    problems.error(path, 'has a ${ that begins no variable', '${NAME}, ${NAME:-default}, or $${ for a plain ${');
  if (text.includes('\0')) problems.error(path, 'holds a NUL character');
  if (WHOLE_BARE_VARIABLE.test(written)) {
    problems.warning(path, `is taken as it is written`, `\${${written.slice(1)}} if the variable is meant`);
  }
  return text;
}

export function readEnvironment(
  given: Readonly<Record<string, Plain>> | undefined,
  path: ConfigPath,
  rules: TextRules,
): Readonly<Record<string, string>> {
  const env: Record<string, string> = {};
  for (const [name, value] of Object.entries(given ?? {})) {
    const place = [...path, name];
    if (name === '' || /[=\0]/.test(name))
      rules.problems.error(place, 'is not a valid name of a variable', undefined, 'key');
    env[name] = readText(value, place, rules);
  }
  return env;
}

const HEADER_NAME = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;

/** Headers that the hub sends itself; files of the original often repeat them. */
const OWN_HEADERS: ReadonlySet<string> = new Set([
  'accept',
  'content-type',
  'content-length',
  'transfer-encoding',
  'connection',
  'mcp-session-id',
  'mcp-protocol-version',
]);

export function readHeaders(
  given: Readonly<Record<string, Plain>> | undefined,
  path: ConfigPath,
  rules: TextRules,
): Readonly<Record<string, string>> {
  const headers: Record<string, string> = {};
  const seen = new Set<string>();
  for (const [name, value] of Object.entries(given ?? {})) {
    const place = [...path, name];
    const plainName = name.toLowerCase();
    if (!HEADER_NAME.test(name)) rules.problems.error(place, 'is not a valid name of a header', undefined, 'key');
    if (seen.has(plainName)) rules.problems.error(place, 'occurs twice; names are case-insensitive', undefined, 'key');
    seen.add(plainName);
    const text = readText(value, place, rules);
    if (/[\r\n]/.test(text)) rules.problems.error(place, 'contains a line break', 'one line');
    if (OWN_HEADERS.has(plainName))
      rules.problems.warning(place, 'is left out: the hub sets it itself', undefined, 'key');
    else headers[name] = text;
  }
  return headers;
}
