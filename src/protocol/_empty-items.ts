/**
 * Repairs empty members of result items (content, messages, contents, completions); `empty-result.ts` does the same for
 * the result itself.
 * Guarantees: items that need no change keep their bytes. Only members that the protocol defines are inspected, never
 * structured content or `_meta`. Results above the limits below pass unchanged, which bounds the time (1 MiB: 1 to 2
 * ms).
 */
import { keyIs } from './_scalar.ts';
import { eachElement, eachMember } from './_value.ts';
import { isEmpty } from './object-params.ts';

const MAX_BYTES = 1024 * 1024;
const MAX_ITEMS = 1000;
const MAX_MEMBERS = 64;
const OPEN_OBJECT = 0x7b;
const OPEN_ARRAY = 0x5b;
const NULL = 0x6e;
const COMMA = Buffer.from(',');
/** Options for text that was scanned before. */
const LOOSE = { maxDepth: 4096, strict: false } as const;

/** The types that the members of an object must have. Names are ASCII. */
interface Rule {
  /** Optional members that must not be null. */
  readonly optional: readonly string[];
  /** Members that must be objects: an empty array becomes an empty object. */
  readonly objects: readonly string[];
  /** Members that must be arrays: null becomes an empty array. */
  readonly arrays: readonly string[];
  /** Members whose values, or whose elements, have rules of their own. */
  readonly inner: Readonly<Record<string, Rule>>;
}

const ANNOTATIONS: Rule = { optional: ['audience', 'priority', 'lastModified'], objects: [], arrays: [], inner: {} };
const SHARED = { objects: ['annotations', '_meta'], arrays: [] } as const;
const RESOURCE: Rule = { ...SHARED, optional: ['annotations', '_meta', 'mimeType', 'blob'], inner: {} };
const CONTENT: Rule = {
  ...SHARED,
  optional: ['annotations', '_meta', 'mimeType', 'title', 'description', 'size', 'icons'],
  inner: { annotations: ANNOTATIONS, resource: RESOURCE },
};
const MESSAGE: Rule = { ...SHARED, optional: ['_meta'], inner: { content: CONTENT } };
const COMPLETION: Rule = { optional: ['total', 'hasMore'], objects: [], arrays: ['values'], inner: {} };
/** For each method: the result member that contains the items. */
const ITEMS: ReadonlyMap<string, { readonly member: string; readonly rule: Rule }> = new Map([
  ['tools/call', { member: 'content', rule: CONTENT }],
  ['prompts/get', { member: 'messages', rule: MESSAGE }],
  ['resources/read', { member: 'contents', rule: RESOURCE }],
  ['completion/complete', { member: 'completion', rule: COMPLETION }],
]);
/** The text of a text item or resource: null becomes an empty text, unless a blob is present. */
const TEXT = 'text';
const BLOB = 'blob';

/**
 * Returns the name of the result member of `method` that `filledItems` repairs, or undefined when the method has none.
 */
export function itemsMember(method: string): string | undefined {
  return ITEMS.get(method)?.member;
}

/** Returns the JSON text of that member with its empty members repaired; the same bytes when nothing changes. */
export function filledItems(method: string, json: Buffer): Buffer {
  const items = ITEMS.get(method);
  return items === undefined || json.length > MAX_BYTES ? json : filledValue(json, items.rule);
}

function filledValue(json: Buffer, rule: Rule): Buffer {
  if (json[0] === OPEN_OBJECT) return filledObject(json, rule);
  return json[0] === OPEN_ARRAY ? filledElements(json, rule) : json;
}

/** Removes null elements and repairs the others. */
function filledElements(json: Buffer, rule: Rule): Buffer {
  const kept: Buffer[] = []; // bounded by: MAX_ITEMS
  let count = 0;
  let isChanged = false;
  eachElement(json, 0, json.length, LOOSE, (at, end) => {
    count += 1;
    const item = json.subarray(at, end);
    const text = item[0] === NULL ? undefined : filledValue(item, rule);
    isChanged ||= text !== item;
    if (text) kept.push(text);
    return count <= MAX_ITEMS;
  });
  return isChanged && count <= MAX_ITEMS ? listed('[', kept, ']') : json;
}

function filledObject(json: Buffer, rule: Rule): Buffer {
  const kept: Buffer[] = []; // bounded by: MAX_MEMBERS
  let count = 0;
  let isChanged = false;
  let nullText: Buffer | undefined;
  let hasBlob = false;
  eachMember(json, 0, json.length, LOOSE, {
    member(keyAt, keyEnd, at, end) {
      count += 1;
      const is = (name: string): boolean => keyIs(json, keyAt, keyEnd, name);
      const value = json.subarray(at, end);
      if (value[0] === NULL && is(TEXT)) nullText = json.subarray(keyAt, keyEnd);
      else {
        hasBlob ||= value[0] !== NULL && is(BLOB);
        const text = memberValue(value, rule, is);
        isChanged ||= text !== value;
        if (text === value) kept.push(json.subarray(keyAt, end));
        else if (text) kept.push(named(json.subarray(keyAt, keyEnd), text));
      }
      return count <= MAX_MEMBERS;
    },
  });
  if ((!isChanged && nullText === undefined) || count > MAX_MEMBERS) return json;
  if (nullText && !hasBlob) kept.push(named(nullText, Buffer.from('""')));
  return listed('{', kept, '}');
}

/** Returns the value of a member, or undefined when the member must be removed. */
function memberValue(value: Buffer, rule: Rule, is: (name: string) => boolean): Buffer | undefined {
  if (value[0] === NULL) {
    if (rule.optional.some(is)) return undefined;
    return rule.arrays.some(is) ? Buffer.from('[]') : value;
  }
  if (value[0] !== OPEN_OBJECT && value[0] !== OPEN_ARRAY) return value;
  if (isEmpty(value, { at: 0, end: value.length })) return rule.objects.some(is) ? Buffer.from('{}') : value;
  const inner = Object.keys(rule.inner).find(is);
  return inner === undefined ? value : filledValue(value, rule.inner[inner] as Rule);
}

function named(key: Buffer, value: Buffer): Buffer {
  return Buffer.concat([key, Buffer.from(':'), value]);
}

function listed(open: string, members: readonly Buffer[], close: string): Buffer {
  const text: Buffer[] = [Buffer.from(open)]; // bounded by: members
  for (const [index, member] of members.entries()) text.push(...(index === 0 ? [member] : [COMMA, member]));
  return Buffer.concat([...text, Buffer.from(close)]);
}
