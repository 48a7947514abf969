/**
 * Arguments that a tool wants repeated in headers (`x-mcp-header` in its input schema), so that what lies between can route by them.
 * Promises: only what may be declared counts (a text, an integer or a yes-no, reached by properties alone, under a name that HTTP allows, once);
 * a header must say what the argument says, and nothing where there is no argument.
 * Source: specification 2026-07-28, custom headers from tool parameters.
 */
import { Refusal } from '../../kernel/outcome.ts';
import { decodeHeader } from './header-value.ts';

export interface ParamHeader {
  /** Without `Mcp-Param-`. */
  readonly name: string;
  /** Properties on the way to the argument. */
  readonly path: readonly string[];
}

const KEY = 'x-mcp-header';
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const TYPES: ReadonlySet<unknown> = new Set(['string', 'integer', 'boolean']);
const DEEPEST = 16;
const MOST = 64;
const PREFIX = 'mcp-param-';

type Schema = Readonly<Record<string, unknown>>;

/** `toolJson` = a tool object; almost none has such headers, and those cost no parse. */
export function paramHeadersOf(toolJson: string): readonly ParamHeader[] {
  if (!toolJson.includes(`"${KEY}"`)) return NONE;
  try {
    const { inputSchema } = JSON.parse(toolJson) as { inputSchema?: unknown };
    const found: ParamHeader[] = []; // bounded by: MOST
    collect(inputSchema, [], found);
    const names = found.map(({ name }) => name.toLowerCase());
    // Declared twice it means two things, and nothing can be demanded.
    return found.filter((_, at) => names.indexOf(names[at] ?? '') === names.lastIndexOf(names[at] ?? ''));
  } catch {
    return NONE;
  }
}

const NONE: readonly ParamHeader[] = [];

function collect(schema: unknown, path: readonly string[], found: ParamHeader[]): void {
  if (!isObject(schema) || path.length > DEEPEST || found.length >= MOST) return;
  const name = schema[KEY];
  if (path.length > 0 && typeof name === 'string' && TOKEN.test(name) && TYPES.has(schema.type))
    found.push({ name, path });
  if (!isObject(schema.properties)) return;
  for (const [key, child] of Object.entries(schema.properties)) collect(child, [...path, key], found);
}

/** `args` = the call's arguments; `header` reads one of the request by its name in small letters. */
export function refuseParamHeaders(
  declared: readonly ParamHeader[],
  args: unknown,
  header: (name: string) => string | undefined,
): Refusal | undefined {
  for (const { name, path } of declared) {
    const said = header(PREFIX + name.toLowerCase());
    const value = path.reduce<unknown>(
      (at, key) => (isObject(at) && Object.hasOwn(at, key) ? at[key] : undefined),
      args,
    );
    const full = `Mcp-Param-${name}`;
    if (value === undefined || value === null) {
      if (said !== undefined) return mismatch(full, `is there, and the argument ${path.join('.')} is not`);
    } else if (said === undefined) return mismatch(full, `is missing; it repeats the argument ${path.join('.')}`);
    else if (!saysSame(said, value)) return mismatch(full, `does not say what the argument ${path.join('.')} says`);
  }
  return undefined;
}

function saysSame(said: string, value: unknown): boolean {
  const text = decodeHeader(said.trim());
  if (text === undefined) return false;
  // 42, 42.0 and 4.2e1 are one number.
  if (typeof value === 'number') return text.trim() !== '' && Number(text) === value;
  return text === String(value);
}

function mismatch(header: string, how: string): Refusal {
  return new Refusal('header-mismatch', `The header ${header} ${how}.`, { header });
}

function isObject(value: unknown): value is Schema {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
