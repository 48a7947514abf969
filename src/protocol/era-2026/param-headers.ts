/**
 * Tool arguments that must be repeated in headers (`x-mcp-header` in the input schema), so that intermediaries can
 * route by them.
 * Guarantees: only valid declarations count (a string, integer or boolean, reached through properties only, under a
 * valid HTTP header name, once). A header must equal its argument, and be absent when the argument is. Only declared
 * arguments are read; the others are not parsed.
 * Source: specification 2026-07-28, custom headers from tool parameters.
 */
import { Refusal } from '../../model/outcome.ts';
import { everyMemberMatches } from '../header-list.ts';
import { ABSENT, type Span } from '../message.ts';
import { memberSpan, stringAt } from '../scan.ts';
import { encodeHeader } from './header-value.ts';

export interface ParamHeader {
  /** The header name without `Mcp-Param-`. */
  readonly name: string;
  /** The properties that lead to the argument. */
  readonly path: readonly string[];
}

const KEY = 'x-mcp-header';
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const TYPES: ReadonlySet<unknown> = new Set(['string', 'integer', 'boolean']);
const DEEPEST = 64;
/** Rows are nested less deeply than this (`bodyDepth`). */
const STRIPPED_DEPTH = 1000;
const MOST = 64;
const PREFIX = 'mcp-param-';
/** Longest header value in bytes; headers are for routing, not for payloads. */
const VALUE_BYTES = 4096;
/** Parts of a schema where a declaration is not allowed, and those of them that map names to schemas. */
const ELSEWHERE = [
  ...['items', 'prefixItems', 'contains', 'additionalProperties', 'unevaluatedProperties', 'unevaluatedItems'],
  ...['propertyNames', 'oneOf', 'anyOf', 'allOf', 'not', 'if', 'then', 'else'],
  ...['patternProperties', 'dependentSchemas', '$defs', 'definitions'],
] as const;
const MAPS: ReadonlySet<string> = new Set(['patternProperties', 'dependentSchemas', '$defs', 'definitions']);

type Schema = Readonly<Record<string, unknown>>;

/**
 * Returns the headers that a tool declares. `toolJson` is a tool object; tools without such headers, nearly all, are
 * not parsed.
 */
export function paramHeadersOf(toolJson: string): readonly ParamHeader[] {
  return legalOf(declarationsIn(toolJson)).map(({ name, path }) => ({ name, path }));
}

function legalOf(found: readonly Declaration[]): readonly Declaration[] {
  const legal = found.filter((one) => faultOf(one) === undefined).slice(0, MOST);
  // A header that is declared twice is ambiguous, so nothing can be required.
  return legal.filter((one) => legal.every((other) => other === one || !isSameName(one, other)));
}

/** Returns why a tool's declarations are invalid, or undefined when they are valid or there are none. */
export function paramHeaderFault(toolJson: string): string | undefined {
  const found = declarationsIn(toolJson);
  if (found.length > MOST) return `${KEY} occurs more than ${MOST} times`;
  for (const [at, one] of found.entries()) {
    const fault = faultOf(one);
    if (fault !== undefined) return fault;
    if (found.slice(0, at).some((other) => isSameName(one, other))) return `${KEY} names the header ${one.name} twice`;
  }
  return undefined;
}

/** Returns a tool's JSON text without its invalid declarations. */
export function withoutIllegalParamHeaders(toolJson: string): string {
  const tool = JSON.parse(toolJson) as { inputSchema?: unknown };
  const found: Declaration[] = []; // bounded by: MOST
  collect(tool.inputSchema, [], true, found);
  strip(tool.inputSchema, new Set(legalOf(found).map(({ schema }) => schema)), 0);
  return JSON.stringify(tool);
}

/** Removes declarations wherever `collect` looks for them, except those of `kept`. */
function strip(schema: unknown, kept: ReadonlySet<Schema>, depth: number): void {
  if (!isObject(schema) || depth > STRIPPED_DEPTH) return;
  if (!kept.has(schema)) delete (schema as Record<string, unknown>)[KEY];
  for (const part of Object.values(isObject(schema.properties) ? schema.properties : {})) strip(part, kept, depth + 1);
  for (const key of ELSEWHERE) {
    const part = schema[key];
    const branches = Array.isArray(part) || (MAPS.has(key) && isObject(part)) ? Object.values(part) : [part];
    for (const branch of branches) strip(branch, kept, depth + 1);
  }
}

interface Declaration extends ParamHeader {
  /** The schema that contains the declaration. */
  readonly schema: Schema;
  readonly type: unknown;
  /** True when the schema is reached through properties only. */
  readonly isPlain: boolean;
}

function declarationsIn(toolJson: string): readonly Declaration[] {
  if (!toolJson.includes(`"${KEY}"`)) return [];
  try {
    const found: Declaration[] = []; // bounded by: MOST
    const { inputSchema } = JSON.parse(toolJson) as { inputSchema?: unknown };
    collect(inputSchema, [], true, found);
    return found;
  } catch {
    return [];
  }
}

function collect(schema: unknown, path: readonly string[], isPlain: boolean, found: Declaration[]): void {
  if (!isObject(schema) || path.length > DEEPEST || found.length > MOST) return;
  if (Object.hasOwn(schema, KEY)) {
    const name = schema[KEY];
    found.push({ name: typeof name === 'string' ? name : '', path, type: schema.type, isPlain, schema });
  }
  if (isObject(schema.properties))
    for (const [key, child] of Object.entries(schema.properties)) collect(child, [...path, key], isPlain, found);
  for (const key of ELSEWHERE) {
    const part = schema[key];
    const branches = Array.isArray(part) || (MAPS.has(key) && isObject(part)) ? Object.values(part) : [part];
    for (const branch of branches) collect(branch, [...path, key], false, found);
  }
}

function faultOf({ name, path, type, isPlain }: Declaration): string | undefined {
  const where = path.join('.').slice(0, 100) || 'the schema itself';
  if (!isPlain || path.length === 0) return `${KEY} at ${where} is not at a plain property`;
  if (!TOKEN.test(name)) return `${KEY} at ${where} is not a header name`;
  return TYPES.has(type) ? undefined : `${KEY} at ${where} is not at a string, an integer or a boolean`;
}

function isSameName(one: ParamHeader, other: ParamHeader): boolean {
  return one.name.toLowerCase() === other.name.toLowerCase();
}

/**
 * Returns the headers of a call: name, value, name, value … `args` is the span of the arguments in `bytes`, or ABSENT.
 */
export function paramHeaderLines(declared: readonly ParamHeader[], bytes: Buffer, args: Span): string[] {
  return declared.flatMap(({ name, path }) => {
    const value = scalarAt(
      bytes,
      path.reduce<Span>((at, key) => inside(bytes, at, key), args),
    );
    return value === undefined ? [] : [PREFIX + name.toLowerCase(), encodeHeader(value)];
  });
}

function inside(bytes: Buffer, object: Span, key: string): Span {
  return object.at >= 0 && bytes[object.at] === 0x7b ? memberSpan(bytes, object, key) : ABSENT;
}

/** Returns the value as text, or undefined when it is absent, null, or cannot be a header value. */
function scalarAt(bytes: Buffer, { at, end }: Span): string | undefined {
  if (at < 0 || end - at > VALUE_BYTES) return undefined;
  if (bytes[at] === 0x22) return stringAt(bytes, { at, end });
  const text = bytes.toString('latin1', at, end).trim();
  if (text === 'true' || text === 'false') return text;
  const value = /^-?\d/.test(text) ? Number(text) : Number.NaN;
  return Number.isSafeInteger(value) ? String(value) : undefined;
}

/**
 * Compares the request's headers with the call's arguments. `header` returns a request header by its lowercase name.
 */
export function refuseParamHeaders(
  declared: readonly ParamHeader[],
  args: unknown,
  header: (name: string) => string | undefined,
): Refusal | undefined {
  for (const { name, path } of declared) {
    const field = header(PREFIX + name.toLowerCase());
    const value = path.reduce<unknown>(
      (at, key) => (isObject(at) && Object.hasOwn(at, key) ? at[key] : undefined),
      args,
    );
    const full = `Mcp-Param-${name}`;
    if (value === undefined || value === null) {
      if (field !== undefined && field !== '')
        return mismatch(full, `is present, but the argument ${path.join('.')} is not`);
    } else if (field === undefined) return mismatch(full, `is missing; it repeats the argument ${path.join('.')}`);
    else if (!isSameValue(field, value)) return mismatch(full, `differs from the argument ${path.join('.')}`);
  }
  return undefined;
}

function isSameValue(field: string, value: unknown): boolean {
  const plain = String(value);
  // 42, 42.0 and 4.2e1 are the same number.
  const isSame = (text: string): boolean =>
    typeof value === 'number' ? text.trim() !== '' && Number(text) === value : text === plain;
  return everyMemberMatches(field, plain, isSame);
}

function mismatch(header: string, how: string): Refusal {
  return new Refusal('header-mismatch', `The header ${header} ${how}.`, { header });
}

function isObject(value: unknown): value is Schema {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
