/**
 * Repairs tools, so that no client rejects a whole list for one tool (SDK clients do, measured).
 * Guarantees: valid members stay unchanged; an invalid member is changed alone; a tool is hidden when its schema cannot
 * be repaired.
 * Source: https://modelcontextprotocol.io/specification/2025-11-25/schema#tool
 */
import { isEmptyArray, isListOfStrings, mayHaveEmpty, withFilledSchemas } from './_empty-schemas.ts';
import type { ByteSpan } from './_json-bytes.ts';
import { type Member, RESCAN_LIMITS, rebuild, scanMembers } from './_members.ts';

export interface Repair {
  /** By top-level key: the new JSON text, or undefined = the member is removed. */
  readonly changes: Map<string, string | undefined>; // bounded by: the members of one tool
  /** Descriptions of the changes, for the operator. */
  readonly words: string[]; // bounded by: the members of one tool
  dropStructured: boolean;
}

export type Json = Readonly<Record<string, unknown>>;

/** An optional member, and a check of its value. */
export type MemberRule = readonly [key: string, fits: (value: unknown) => boolean];

export function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Records in `repair` how `tool` (parsed from `bytes`) must change. Returns why it must be hidden, or undefined. */
export function repairTool(tool: Json, bytes: Buffer, members: readonly Member[], repair: Repair): string | undefined {
  for (const [key, fits] of OPTIONAL_MEMBERS) {
    if (tool[key] === undefined || fits(tool[key])) continue;
    repair.changes.set(key, undefined);
    repair.words.push(`${key} removed: wrong type`);
  }
  const pieceOf = (key: string): ByteSpan => {
    const member = members.find((one) => one.key === key);
    return { bytes, at: member?.at ?? 0, end: member?.end ?? 0 };
  };
  const hidden = repairInput(tool.inputSchema, pieceOf('inputSchema'), repair);
  if (hidden !== undefined) return hidden;
  if (tool.outputSchema !== undefined) repairOutput(tool.outputSchema, pieceOf('outputSchema'), repair);
  return undefined;
}

function repairInput(schema: unknown, piece: ByteSpan, repair: Repair): string | undefined {
  if (isNone(schema)) {
    repair.changes.set('inputSchema', '{"type":"object"}');
    repair.words.push('inputSchema added: it was missing');
    return undefined;
  }
  if (!isObject(schema)) return 'inputSchema is not an object';
  const types = schema.type;
  const lacksType = types === undefined || types === null || (Array.isArray(types) && types.includes('object'));
  if (!lacksType && types !== 'object') return `inputSchema is not of type object`;
  repairSchema('inputSchema', { schema, piece }, lacksType ? [['type', '"object"']] : [], repair);
  return undefined;
}

function repairOutput(schema: unknown, piece: ByteSpan, repair: Repair): void {
  const isEmpty = isNone(schema) || (isObject(schema) && Object.keys(schema).length === 0);
  if (!isObject(schema) || schema.type !== 'object') {
    repair.changes.set('outputSchema', undefined);
    repair.words.push('outputSchema removed: not of type object');
    // An empty schema says nothing about results.
    repair.dropStructured = !isEmpty;
    return;
  }
  repairSchema('outputSchema', { schema, piece }, [], repair);
}

/** Absent, null, or an empty array (PHP's empty map). */
function isNone(schema: unknown): boolean {
  return schema === undefined || schema === null || isEmptyArray(schema);
}

/** `more`: members to add to the schema. */
function repairSchema(
  key: 'inputSchema' | 'outputSchema',
  given: { readonly schema: Json; readonly piece: ByteSpan },
  more: readonly (readonly [string, string])[],
  repair: Repair,
): void {
  const filled = filledPiece(given);
  const { schema, piece } = filled ?? given;
  const changes = schemaChanges(schema, piece);
  for (const [name, text] of more) changes.set(name, text);
  if (changes.size === 0 && filled === undefined) return;
  repair.changes.set(
    key,
    changes.size === 0 ? piece.bytes.toString('utf8', piece.at, piece.end) : rebuildPiece(piece, changes),
  );
  const words = [...changes.keys(), ...(filled ? ['empty arrays or null in place of objects and lists'] : [])];
  repair.words.push(`${key} repaired: ${words.join(', ')}`);
}

/**
 * Returns the schema without empty arrays and nulls in place of objects, and its text; undefined = nothing to change.
 */
function filledPiece({ schema, piece: { bytes, at, end } }: { schema: Json; piece: ByteSpan }) {
  const filled = mayHaveEmpty(bytes.subarray(at, end)) ? withFilledSchemas(schema) : schema;
  if (filled === schema) return undefined;
  const text = Buffer.from(JSON.stringify(filled));
  return { schema: filled, piece: { bytes: text, at: 0, end: text.length } };
}

/**
 * Makes `properties` a map of objects (booleans are valid JSON Schema, but clients reject them) and `required` a list
 * of names.
 */
function schemaChanges(schema: Json, piece: ByteSpan): Map<string, string | undefined> {
  const changes = new Map<string, string | undefined>();
  if (schema.required !== undefined && !isListOfStrings(schema.required)) changes.set('required', undefined);
  const { properties } = schema;
  if (properties === undefined) return changes;
  if (!isObject(properties)) {
    changes.set('properties', undefined);
    return changes;
  }
  const odd = new Map<string, string | undefined>();
  for (const [name, value] of Object.entries(properties)) {
    if (typeof value !== 'object' || value === null) odd.set(name, value === false ? '{"not":{}}' : '{}');
  }
  if (odd.size === 0) return changes;
  const inner = scanMembers(piece, RESCAN_LIMITS).members.find((member) => member.key === 'properties');
  changes.set(
    'properties',
    inner ? rebuildPiece({ bytes: piece.bytes, at: inner.at, end: inner.end }, odd) : undefined,
  );
  return changes;
}

function rebuildPiece(piece: ByteSpan, changes: ReadonlyMap<string, string | undefined>): string {
  const { members, fault } = scanMembers(piece, RESCAN_LIMITS);
  // Only with a duplicate key inside (the scan of the tool checks its top level): use the parsed value, as clients see
  // it.
  if (fault === undefined) return rebuild(piece.bytes, members, changes);
  const value = JSON.parse(piece.bytes.toString('utf8', piece.at, piece.end)) as Record<string, unknown>;
  for (const [key, text] of changes) value[key] = text === undefined ? undefined : JSON.parse(text);
  return JSON.stringify(value);
}

export const isOptional = (value: unknown, kind: 'string' | 'boolean'): boolean =>
  value === undefined || typeof value === kind;

const isAnnotations = (value: unknown): boolean =>
  isObject(value) && isOptional(value.title, 'string') && HINTS.every((hint) => isOptional(value[hint], 'boolean'));

const HINTS = ['readOnlyHint', 'destructiveHint', 'idempotentHint', 'openWorldHint'] as const;

const isIcon = (value: unknown): boolean =>
  isObject(value) &&
  typeof value.src === 'string' &&
  isOptional(value.mimeType, 'string') &&
  (value.sizes === undefined || isListOfStrings(value.sizes)) &&
  (value.theme === undefined || value.theme === 'light' || value.theme === 'dark');

const isExecution = (value: unknown): boolean =>
  isObject(value) && (value.taskSupport === undefined || TASK_SUPPORT.includes(value.taskSupport));

const TASK_SUPPORT: readonly unknown[] = ['required', 'optional', 'forbidden'];

/** Members that tools, prompts, resources and templates have in common. */
export const SHARED_MEMBERS: readonly MemberRule[] = [
  ['title', (value) => typeof value === 'string'],
  ['description', (value) => typeof value === 'string'],
  ['icons', (value) => Array.isArray(value) && value.every(isIcon)],
];

const OPTIONAL_MEMBERS: readonly MemberRule[] = [
  ...SHARED_MEMBERS,
  ['annotations', isAnnotations],
  ['execution', isExecution],
  ['_meta', isObject],
];
