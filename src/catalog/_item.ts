/**
 * Reads one tool, prompt, resource or template from its bytes: accepts it, repairs it where older clients would fail,
 * or hides it with a reason.
 * Guarantees: sizes and depth are checked on the bytes before parsing; an unchanged object keeps its exact text.
 * `listing.ts` finds duplicates.
 */
import type { Limits } from '../config/limits.ts';
import type { Hidden, ItemKind, ListedTool } from '../model/snapshot.ts';
import { wellFormedText } from '../protocol/json-text.ts';
import { decodeString } from './_json-bytes.ts';
import { type Member, RESCAN_LIMITS, rebuild, scanMembers } from './_members.ts';
import { isObject, type Json, type Repair, repairTool } from './_repair.ts';
import { repairPrompt, repairResource } from './_repair-items.ts';
import { truncateJsonString, truncateText } from './_truncate.ts';

export type CatalogLimits = Pick<
  Limits,
  'bodyDepth' | 'serverTools' | 'listingBytes' | 'descriptionBytes' | 'schemaBytes'
>;

/** Longest native name, bytes; MCP 2025-11-25 recommends at most 128. */
const NAME_BYTES = 512;
/** Longest URI or template, bytes. */
const URI_BYTES = 4096;
/** Maximum members of one object; the specification defines nine. */
const MEMBERS = 256;

interface ItemRules {
  /** The member that identifies the item. */
  readonly key: string;
  readonly noun: string;
  readonly nameBytes: number;
}

const ITEM_RULES: Readonly<Record<ItemKind, ItemRules>> = {
  tool: { key: 'name', noun: 'name', nameBytes: NAME_BYTES },
  prompt: { key: 'name', noun: 'name', nameBytes: NAME_BYTES },
  resource: { key: 'uri', noun: 'uri', nameBytes: URI_BYTES },
  template: { key: 'uriTemplate', noun: 'uriTemplate', nameBytes: URI_BYTES },
};

/** Returns the item, or why it is hidden. `dropStructured` is true only for tools. */
export function readItem(kind: ItemKind, bytes: Buffer, limits: CatalogLimits): ListedTool | Hidden {
  const hide = (name: string, why: string): Hidden => ({ kind, native: name, why });
  const ceilings = { depth: limits.bodyDepth, valueBytes: limits.schemaBytes, members: MEMBERS };
  const { members, fault } = scanMembers({ bytes, at: 0, end: bytes.length }, ceilings);
  const native = readName(bytes, fault === undefined ? members : membersOfInvalid(bytes), kind);
  if (fault !== undefined) return hide(typeof native === 'string' ? native : '', `the ${kind} ${fault}`);
  if (typeof native !== 'string') return native;
  const large = sizeFault(members, limits, kind);
  if (large !== undefined) return hide(native, large);
  const repair: Repair = { changes: new Map(), words: [], dropStructured: false };
  truncateDescription(bytes, members, limits.descriptionBytes, repair);
  const text = itemText(bytes, members, repair);
  const item = parseJson(text);
  if (!isObject(item)) return hide(native, `the ${kind} is not JSON`);
  const why = repairItem(kind, item, { native, bytes, members }, repair);
  if (why !== undefined) return hide(native, why);
  return {
    native,
    json: repair.changes.size === 0 ? text : itemText(bytes, members, repair),
    title: itemTitle(item, native),
    repaired: repair.words.length === 0 ? undefined : repair.words.join('; '),
    dropStructured: repair.dropStructured,
  };
}

/** Returns the members of an invalid item, to find its name. */
function membersOfInvalid(bytes: Buffer): readonly Member[] {
  return scanMembers({ bytes, at: 0, end: bytes.length }, { ...RESCAN_LIMITS, members: MEMBERS }).members;
}

/**
 * Returns the text of an item. In a list with another invalid row, it may contain lone surrogates: they are replaced.
 */
function itemText(bytes: Buffer, members: readonly Member[], { changes }: Repair): string {
  return wellFormedText(changes.size === 0 ? bytes.toString('utf8') : rebuild(bytes, members, changes));
}

/** Records the changes in `repair`. Returns why the item must be hidden, or undefined. */
function repairItem(
  kind: ItemKind,
  item: Json,
  { native, bytes, members }: { native: string; bytes: Buffer; members: readonly Member[] },
  repair: Repair,
): string | undefined {
  if (kind === 'tool') return repairTool(item, bytes, members, repair);
  if (kind === 'prompt') repairPrompt(item, repair);
  else repairResource(item, native, repair);
  return undefined;
}

function readName(bytes: Buffer, members: readonly Member[], kind: ItemKind): string | Hidden {
  const { key, noun, nameBytes } = ITEM_RULES[kind];
  const hide = (native: string, why: string): Hidden => ({ kind, native, why });
  const member = members.find((one) => one.key === key);
  if (!member) return hide('', `the ${kind} has no ${noun}`);
  if (bytes[member.at] !== 0x22) return hide('', `the ${noun} is not a string`);
  if (member.end - member.at - 2 > nameBytes) return hide('', `the ${noun} is longer than ${nameBytes} bytes`);
  const native = decodeString(bytes, member.at, member.end);
  if (native === undefined) return hide('', `the ${noun} is not JSON`);
  if (native.trim() === '') return hide('', `the ${noun} is empty`);
  if (INVISIBLE.test(native)) return hide(native.replaceAll(ALL_INVISIBLE, '?'), `the ${noun} has control characters`);
  return native;
}
/** Control and format characters, lone surrogates and line separators: a name must be what it looks like. */
const INVISIBLE = /[\p{Cc}\p{Cf}\p{Cs}\u2028\u2029]/u;
const ALL_INVISIBLE = /[\p{Cc}\p{Cf}\p{Cs}\u2028\u2029]/gu;

function sizeFault(members: readonly Member[], { schemaBytes }: CatalogLimits, kind: ItemKind): string | undefined {
  let rest = 0;
  for (const { key, at, end } of members) {
    if (key === 'description') continue;
    if (end - at > schemaBytes) return `${key.slice(0, 40)} is larger than schemaBytes (${schemaBytes})`;
    if (key !== 'inputSchema' && key !== 'outputSchema') rest += end - at + key.length;
  }
  return rest > schemaBytes ? `the ${kind} is larger than schemaBytes (${schemaBytes}) without its schemas` : undefined;
}

function truncateDescription(bytes: Buffer, members: readonly Member[], maxBytes: number, repair: Repair): void {
  const member = members.find(({ key }) => key === 'description');
  if (!member) return;
  // Remove a description that is not a string here, so that a large one is never parsed.
  if (bytes[member.at] !== 0x22) {
    repair.changes.set('description', undefined);
    repair.words.push('description removed: not a string');
    return;
  }
  const cut = truncateJsonString(bytes.subarray(member.at, member.end), maxBytes);
  if (cut === undefined) return;
  repair.changes.set('description', cut);
  repair.words.push(`description cut at ${maxBytes} bytes`);
}

function itemTitle(item: Json, native: string): string {
  if (typeof item.title === 'string' && item.title !== '') return truncateText(item.title, NAME_BYTES);
  const { annotations } = item;
  if (isObject(annotations) && typeof annotations.title === 'string' && annotations.title !== '') {
    return truncateText(annotations.title, NAME_BYTES);
  }
  return native;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
