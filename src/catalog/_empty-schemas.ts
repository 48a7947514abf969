/**
 * JSON Schemas in which an empty array stands where an object belongs, as PHP writes an empty map: `"properties":[]`, `"items":[]`.
 * Model APIs refuse a request with such a schema as a whole.
 */

type Json = Readonly<Record<string, unknown>>;

/** Members that are maps of schemas, that are a schema, and that are lists of schemas. */
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

/**
 * Returns the schema with `{}` in the place of each such array, at any depth; the same object when there is none. The depth of `schema` must be
 * bounded.
 */
export function withFilledSchemas(schema: Json): Json {
  let filled: Record<string, unknown> | undefined;
  for (const [key, value] of Object.entries(schema)) {
    const now = filledMember(key, value);
    if (now === value) continue;
    filled ??= { ...schema };
    filled[key] = now;
  }
  return filled ?? schema;
}

function filledMember(key: string, value: unknown): unknown {
  if (MAPS.has(key)) return isEmptyArray(value) ? {} : isObject(value) ? mapValues(value, filledSchema) : value;
  if (SCHEMAS.has(key) && !(Array.isArray(value) && value.length > 0)) return filledSchema(value);
  return LISTS.has(key) && Array.isArray(value) ? mapItems(value) : value;
}

function filledSchema(value: unknown): unknown {
  if (isEmptyArray(value)) return {};
  return isObject(value) ? withFilledSchemas(value) : value;
}

function mapValues(map: Json, change: (value: unknown) => unknown): Json {
  const entries = Object.entries(map).map(([key, value]) => [key, change(value), value] as const);
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

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
