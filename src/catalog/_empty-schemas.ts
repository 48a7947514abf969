/**
 * Repairs JSON Schemas with an empty array in place of an object, as PHP writes an empty map (`"properties":[]`,
 * `"items":[]`), or with null as the value of a keyword (`"required":null`). Model APIs reject a whole request with
 * such a schema.
 */

type Json = Readonly<Record<string, unknown>>;

/** Keywords whose value is a map of schemas, a schema, or a list of schemas. */
const MAPS: ReadonlySet<string> = new Set([
  'properties',
  'patternProperties',
  '$defs',
  'definitions',
  'dependentSchemas',
]);
const SCHEMAS: ReadonlySet<string> = new Set([
  ...['items', 'additionalProperties', 'unevaluatedProperties', 'unevaluatedItems', 'additionalItems', 'contains'],
  ...['propertyNames', 'not', 'if', 'then', 'else'],
]);
const LISTS: ReadonlySet<string> = new Set(['allOf', 'anyOf', 'oneOf', 'prefixItems', 'items']);
/** Keywords whose value is another map. */
const OTHER_MAPS: ReadonlySet<string> = new Set(['dependentRequired', 'dependencies', '$vocabulary']);
/** Keywords that cannot be null. `default`, `const` and unknown members may be. */
const NEVER_NULL: ReadonlySet<string> = new Set([
  ...[...MAPS, ...SCHEMAS, ...LISTS, ...OTHER_MAPS, 'type', 'required', 'enum', 'examples'],
  ...['title', 'description', 'format', 'pattern', '$ref', '$id', '$schema', '$comment', '$anchor'],
  ...['minimum', 'maximum', 'exclusiveMinimum', 'exclusiveMaximum', 'multipleOf', 'minLength', 'maxLength'],
  ...['minItems', 'maxItems', 'uniqueItems', 'minContains', 'maxContains', 'minProperties', 'maxProperties'],
  ...['deprecated', 'readOnly', 'writeOnly', 'contentEncoding', 'contentMediaType'],
]);

const OPEN_ARRAY = 0x5b;
const CLOSE_ARRAY = 0x5d;
const COLON = 0x3a;
const NULL = 'null';
const DEFAULT = '"default"';
const REQUIRED = '"required"';

/**
 * Returns whether `withFilledSchemas` may change a schema with this text. False is certain. Costs a few native
 * searches.
 */
export function mayHaveEmpty(text: Buffer): boolean {
  for (let at = text.indexOf(OPEN_ARRAY); at >= 0; at = text.indexOf(OPEN_ARRAY, at + 1))
    if (text[skipSpace(text, at + 1, 1)] === CLOSE_ARRAY) return true;
  // Many libraries write `"default":null`.
  for (let at = text.indexOf(NULL); at >= 0; at = text.indexOf(NULL, at + 1)) {
    const colon = skipSpace(text, at - 1, -1);
    const keyEnd = skipSpace(text, colon - 1, -1) + 1;
    if (text[colon] === COLON && text.toString('latin1', keyEnd - DEFAULT.length, keyEnd) !== DEFAULT) return true;
  }
  for (let at = text.indexOf(REQUIRED); at >= 0; at = text.indexOf(REQUIRED, at + 1)) {
    const colon = skipSpace(text, at + REQUIRED.length, 1);
    if (text[colon] === COLON && text[skipSpace(text, colon + 1, 1)] !== OPEN_ARRAY) return true;
  }
  return false;
}

function skipSpace(text: Buffer, from: number, step: 1 | -1): number {
  let at = from;
  while (at >= 0 && at < text.length && (text[at] as number) <= 0x20) at += step;
  return at;
}

/**
 * Returns the schema with `{}` in place of such arrays, without keywords whose value is null and without an invalid
 * `required`, at any depth; the same object when nothing changes. The depth of `schema` must be limited.
 */
export function withFilledSchemas(schema: Json): Json {
  let filled: Record<string, unknown> | undefined;
  for (const key of Object.keys(schema)) {
    const value = schema[key];
    const now = filledMember(key, value);
    if (now === value) continue;
    filled ??= { ...schema };
    if (now === undefined) delete filled[key];
    else filled[key] = now;
  }
  return filled ?? schema;
}

/** Returns the repaired value; undefined = remove the member. */
function filledMember(key: string, value: unknown): unknown {
  if (value === null) return NEVER_NULL.has(key) ? undefined : value;
  // Most members are strings and numbers.
  if (typeof value !== 'object' && !MAPS.has(key) && !SCHEMAS.has(key)) return key === 'required' ? undefined : value;
  if (MAPS.has(key)) return isEmptyArray(value) ? {} : isObject(value) ? mapValues(value) : undefined;
  if (key === 'required') return isListOfStrings(value) ? value : undefined;
  if (OTHER_MAPS.has(key)) return isEmptyArray(value) ? {} : value;
  if (SCHEMAS.has(key) && !(Array.isArray(value) && value.length > 0)) return filledSchema(value);
  if (!LISTS.has(key) || !Array.isArray(value)) return key === 'type' && isEmptyArray(value) ? undefined : value;
  return value.length === 0 ? undefined : mapItems(value);
}

/** A value that is neither an object nor a boolean becomes `{}`. */
function filledSchema(value: unknown): unknown {
  if (isObject(value)) return withFilledSchemas(value);
  return typeof value === 'boolean' ? value : {};
}

function mapValues(map: Json): Json {
  const entries = Object.entries(map).map(([key, value]) => [key, filledSchema(value), value] as const);
  return entries.every(([, now, value]) => now === value)
    ? map
    : Object.fromEntries(entries.map(([key, now]) => [key, now]));
}

function mapItems(list: readonly unknown[]): readonly unknown[] {
  const items = list.map(filledSchema);
  return items.every((item, at) => item === list[at]) ? list : items;
}

export function isEmptyArray(value: unknown): boolean {
  return Array.isArray(value) && value.length === 0;
}

export function isListOfStrings(value: unknown): boolean {
  return Array.isArray(value) && value.every((item) => typeof item === 'string');
}

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
