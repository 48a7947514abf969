/**
 * Repairs prompts, resources and templates, so that no client rejects a whole list for one row.
 * Guarantees: valid members stay unchanged; an invalid member is changed or removed alone; nothing is hidden here.
 * Source: the schemas of https://modelcontextprotocol.io/specification/2025-11-25/schema, as the clients of the SDK
 * validate them.
 */
import { isObject, isOptional, type Json, type MemberRule, type Repair, SHARED_MEMBERS } from './_repair.ts';

export function repairPrompt(prompt: Json, repair: Repair): void {
  dropMisfits(prompt, PROMPT_MEMBERS, repair);
  const list = prompt.arguments;
  if (!Array.isArray(list)) return;
  const good = list.filter(isArgument);
  if (good.length === list.length) return;
  repair.changes.set('arguments', JSON.stringify(good));
  repair.words.push(`arguments left out: ${list.length - good.length} with a wrong type`);
}

/** Also for templates. `native`: the URI or template text, used as the name when there is none. */
export function repairResource(resource: Json, native: string, repair: Repair): void {
  dropMisfits(resource, RESOURCE_MEMBERS, repair);
  if (typeof resource.name === 'string') return;
  repair.changes.set('name', JSON.stringify(native));
  repair.words.push('name added: it was missing');
}

function dropMisfits(item: Json, rules: readonly MemberRule[], repair: Repair): void {
  for (const [key, fits] of rules) {
    if (item[key] === undefined || fits(item[key])) continue;
    repair.changes.set(key, undefined);
    repair.words.push(`${key} removed: wrong type`);
  }
}

const isArgument = (value: unknown): boolean =>
  isObject(value) &&
  typeof value.name === 'string' &&
  isOptional(value.title, 'string') &&
  isOptional(value.description, 'string') &&
  isOptional(value.required, 'boolean');

const isAnnotations = (value: unknown): boolean =>
  isObject(value) && isAudience(value.audience) && isPriority(value.priority) && isInstant(value.lastModified);

const ROLES: readonly unknown[] = ['user', 'assistant'];

function isAudience(value: unknown): boolean {
  return value === undefined || (Array.isArray(value) && value.every((role) => ROLES.includes(role)));
}

function isPriority(value: unknown): boolean {
  return value === undefined || (typeof value === 'number' && value >= 0 && value <= 1);
}

/** ISO 8601 with seconds and offset, as clients validate it. */
const INSTANT = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d{1,9})?(?:Z|[+-]\d{2}:\d{2})$/;

function isInstant(value: unknown): boolean {
  return value === undefined || (typeof value === 'string' && INSTANT.test(value) && !Number.isNaN(Date.parse(value)));
}

const PROMPT_MEMBERS: readonly MemberRule[] = [...SHARED_MEMBERS, ['arguments', Array.isArray], ['_meta', isObject]];

const RESOURCE_MEMBERS: readonly MemberRule[] = [
  ...SHARED_MEMBERS,
  ['mimeType', (value) => typeof value === 'string'],
  ['size', (value) => typeof value === 'number'],
  ['annotations', isAnnotations],
  ['_meta', isObject],
];
