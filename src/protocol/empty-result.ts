/**
 * Repairs results of servers whose libraries write members empty: PHP writes `[]` for an empty map, other libraries
 * write null for unset values. Clients would reject the whole result. `_empty-items.ts` repairs the items.
 */
import { filledItems, itemsMember } from './_empty-items.ts';
import { keyIs } from './_scalar.ts';
import type { Envelope, Span } from './message.ts';
import { withoutMembers } from './meta.ts';
import { isEmpty } from './object-params.ts';
import { type Replacement, replaceSpans } from './write.ts';

const OPEN_ARRAY = 0x5b;
const NULL = 0x6e;
const EMPTY_OBJECT = Buffer.from('{}');
const EMPTY_ARRAY = Buffer.from('[]');
/** What a result that is null or `[]` is replaced with, per method; `{}` for all others. */
const EMPTY_RESULTS: ReadonlyMap<string, Buffer> = new Map(
  Object.entries({
    'tools/call': '{"content":[]}',
    'prompts/get': '{"messages":[]}',
    'resources/read': '{"contents":[]}',
    'completion/complete': '{"completion":{"values":[]}}',
    'roots/list': '{"roots":[]}',
  }).map(([method, text]) => [method, Buffer.from(text)]),
);
/** Members that must be arrays. */
const ARRAYS: readonly string[] = ['content', 'messages', 'contents'];
/** Members that must be objects. */
const OBJECTS: readonly string[] = ['_meta', 'structuredContent'];
const COMPLETION = 'completion';
/** Optional members that must not be null. */
const OPTIONAL: readonly string[] = [...OBJECTS, 'isError', 'description', 'nextCursor', 'instructions', 'resultType'];

/** Returns the JSON text of the result of a reply to `method`; the same bytes when no member is empty. */
export function filledResult(method: string, envelope: Envelope): Buffer {
  const { bytes, result, emptyInResult, emptyInsideResult } = envelope;
  if (isEmpty(bytes, result)) return EMPTY_RESULTS.get(method) ?? EMPTY_OBJECT;
  const json = bytes.subarray(result.at, result.end);
  if (emptyInResult === undefined && emptyInsideResult === undefined) return json;
  const edits: Replacement[] = itemEdits(method, envelope); // bounded by: EMPTY_MEMBERS, twice
  const removed: string[] = []; // bounded by: EMPTY_MEMBERS
  for (const { key, value } of membersOf(emptyInResult)) {
    const named = (names: readonly string[]) => names.find((name) => keyIs(bytes, key.at, key.end, name));
    const optional = bytes[value.at] === NULL ? named(OPTIONAL) : undefined;
    if (optional !== undefined) removed.push(optional);
    else {
      const text = filled(named, bytes, value);
      if (text) edits.push({ ...value, with: text });
    }
  }
  const inResult = edits
    .sort((a, b) => a.at - b.at)
    .map(({ at, end, with: text }) => ({ at: at - result.at, end: end - result.at, with: text }));
  const edited = edits.length === 0 ? json : replaceSpans(json, inResult);
  return removed.length === 0 ? edited : withoutMembers(edited, removed);
}

/** Returns the replacements for items of the result that contain an empty value. */
function itemEdits(method: string, { bytes, emptyInsideResult }: Envelope): Replacement[] {
  const member = itemsMember(method);
  if (member === undefined) return [];
  return membersOf(emptyInsideResult).flatMap(({ key, value }) => {
    if (!keyIs(bytes, key.at, key.end, member)) return [];
    const json = bytes.subarray(value.at, value.end);
    const text = filledItems(method, json);
    return text === json ? [] : [{ ...value, with: text }];
  });
}

/** Converts the four numbers per member of an envelope to spans. */
function membersOf(places: readonly number[] = []): { readonly key: Span; readonly value: Span }[] {
  const members: { key: Span; value: Span }[] = []; // bounded by: places
  for (let i = 0; i < places.length; i += 4) {
    const [keyAt, keyEnd, at, end] = places.slice(i, i + 4) as [number, number, number, number];
    members.push({ key: { at: keyAt, end: keyEnd }, value: { at, end } });
  }
  return members;
}

/** Repairs a client's response to a server's question in the same way. `json` is the text of the result. */
export function filledAnswer(method: string, json: Buffer): Buffer {
  const result = { at: 0, end: json.length };
  return isEmpty(json, result) ? (EMPTY_RESULTS.get(method) ?? EMPTY_OBJECT) : json;
}

/** Returns the replacement for an empty member, or undefined when the member stays as it is. */
function filled(
  named: (names: readonly string[]) => string | undefined,
  bytes: Buffer,
  value: Span,
): Buffer | undefined {
  if (named(ARRAYS)) return bytes[value.at] === OPEN_ARRAY ? undefined : EMPTY_ARRAY;
  // An empty object needs no replacement.
  if (!isEmpty(bytes, value)) return undefined;
  if (named(OBJECTS)) return EMPTY_OBJECT;
  return named([COMPLETION]) ? Buffer.from('{"values":[]}') : undefined;
}
