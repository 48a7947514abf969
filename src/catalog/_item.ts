/**
 * One tool, prompt, resource or template from its bytes: looked at, repaired where a legacy client would choke, or left out with a reason.
 * Promises: sizes and depth are checked on the bytes before anything parses them; an untouched object keeps its exact text.
 * Does not: compare it with its neighbours (`listing.ts`).
 */
import type { Limits } from '../config/limits.ts';
import type { Hidden, ItemKind, ListedTool } from '../kernel/snapshot.ts';
import { wellFormedText } from '../protocol/json-text.ts';
import { decodeString, type Member, rebuild, SCANNED_BEFORE, scanMembers } from './_members.ts';
import { isObject, type Json, type Repair, repairTool } from './_repair.ts';
import { repairPrompt, repairResource } from './_repair-items.ts';
import { cutJsonString, cutText } from './_truncate.ts';

export type CatalogLimits = Pick<
  Limits,
  'bodyDepth' | 'serverTools' | 'listingBytes' | 'descriptionBytes' | 'schemaBytes'
>;

/** Longest native name, bytes; MCP 2025-11-25 asks for 128 at most. */
const NAME_BYTES = 512;
/** Longest URI or template, bytes; what is longer is content, not an address. */
const URI_BYTES = 4096;
/** Members of one object; the protocol knows nine. */
const MEMBERS = 256;

interface Manner {
  /** The member that the item is called by. */
  readonly key: string;
  readonly noun: string;
  readonly nameBytes: number;
}

const MANNERS: Readonly<Record<ItemKind, Manner>> = {
  tool: { key: 'name', noun: 'name', nameBytes: NAME_BYTES },
  prompt: { key: 'name', noun: 'name', nameBytes: NAME_BYTES },
  resource: { key: 'uri', noun: 'uri', nameBytes: URI_BYTES },
  template: { key: 'uriTemplate', noun: 'uriTemplate', nameBytes: URI_BYTES },
};

/** `dropStructured` is false for all but tools. */
export function readItem(kind: ItemKind, bytes: Buffer, limits: CatalogLimits): ListedTool | Hidden {
  const hide = (name: string, why: string): Hidden => ({ kind, native: name, why });
  const ceilings = { depth: limits.bodyDepth, valueBytes: limits.schemaBytes, members: MEMBERS };
  const { members, fault } = scanMembers({ bytes, at: 0, end: bytes.length }, ceilings);
  const native = nameIn(bytes, fault === undefined ? members : membersBehind(bytes), kind);
  if (fault !== undefined) return hide(typeof native === 'string' ? native : '', `the ${kind} ${fault}`);
  if (typeof native !== 'string') return native;
  const large = tooLarge(members, limits, kind);
  if (large !== undefined) return hide(native, large);
  const repair: Repair = { changes: new Map(), words: [], dropStructured: false };
  cutDescription(bytes, members, limits.descriptionBytes, repair);
  const text = textOf(bytes, members, repair);
  const item = parsed(text);
  if (!isObject(item)) return hide(native, `the ${kind} is not JSON`);
  const why = repaired(kind, item, { native, bytes, members }, repair);
  if (why !== undefined) return hide(native, why);
  return {
    native,
    json: repair.changes.size === 0 ? text : textOf(bytes, members, repair),
    title: titleOf(item, native),
    repaired: repair.words.length === 0 ? undefined : repair.words.join('; '),
    dropStructured: repair.dropStructured,
  };
}

/** The members of an item that has a fault, to find its name behind it. */
function membersBehind(bytes: Buffer): readonly Member[] {
  return scanMembers({ bytes, at: 0, end: bytes.length }, { ...SCANNED_BEFORE, members: MEMBERS }).members;
}

/** A list in which another row is no JSON comes with its lone surrogates. */
function textOf(bytes: Buffer, members: readonly Member[], { changes }: Repair): string {
  return wellFormedText(changes.size === 0 ? bytes.toString('utf8') : rebuild(bytes, members, changes));
}

/** Notes what must change. Returns why the item must be hidden, or undefined. */
function repaired(
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

function nameIn(bytes: Buffer, members: readonly Member[], kind: ItemKind): string | Hidden {
  const { key, noun, nameBytes } = MANNERS[kind];
  const hide = (native: string, why: string): Hidden => ({ kind, native, why });
  const member = members.find((one) => one.key === key);
  if (!member) return hide('', `the ${kind} has no ${noun}`);
  if (bytes[member.at] !== 0x22) return hide('', `the ${noun} is not a string`);
  if (member.end - member.at - 2 > nameBytes) return hide('', `the ${noun} is longer than ${nameBytes} bytes`);
  const native = decodeString(bytes, member.at, member.end);
  if (native === undefined) return hide('', `the ${noun} is not JSON`);
  if (native.trim() === '') return hide('', `the ${noun} is empty`);
  if (UNSEEN.test(native)) return hide(native.replaceAll(UNSEEN_ALL, '?'), `the ${noun} has control characters`);
  return native;
}
/** Control and format characters, halves of characters, line separators: a name must be what it looks like. */
const UNSEEN = /[\p{Cc}\p{Cf}\p{Cs}\u2028\u2029]/u;
const UNSEEN_ALL = /[\p{Cc}\p{Cf}\p{Cs}\u2028\u2029]/gu;

function tooLarge(members: readonly Member[], { schemaBytes }: CatalogLimits, kind: ItemKind): string | undefined {
  let rest = 0;
  for (const { key, at, end } of members) {
    if (key === 'description') continue;
    if (end - at > schemaBytes) return `${key.slice(0, 40)} is larger than schemaBytes (${schemaBytes})`;
    if (key !== 'inputSchema' && key !== 'outputSchema') rest += end - at + key.length;
  }
  return rest > schemaBytes ? `the ${kind} is larger than schemaBytes (${schemaBytes}) without its schemas` : undefined;
}

function cutDescription(bytes: Buffer, members: readonly Member[], maxBytes: number, repair: Repair): void {
  const member = members.find(({ key }) => key === 'description');
  if (!member) return;
  // A description of another kind goes as a whole (here, so that a large one is never parsed).
  if (bytes[member.at] !== 0x22) {
    repair.changes.set('description', undefined);
    repair.words.push('description removed: not a string');
    return;
  }
  const cut = cutJsonString(bytes.subarray(member.at, member.end), maxBytes);
  if (cut === undefined) return;
  repair.changes.set('description', cut);
  repair.words.push(`description cut at ${maxBytes} bytes`);
}

function titleOf(item: Json, native: string): string {
  if (typeof item.title === 'string' && item.title !== '') return cutText(item.title, NAME_BYTES);
  const { annotations } = item;
  if (isObject(annotations) && typeof annotations.title === 'string' && annotations.title !== '') {
    return cutText(annotations.title, NAME_BYTES);
  }
  return native;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
