/**
 * From what a server listed to what the hub shows: each tool on its own, so that one bad tool hides or repairs only itself.
 * Promises: an untouched tool keeps its exact text (key order, unknown keys, $defs, annotations); sizes and depth are checked on the
 * bytes before anything parses them; what was changed or left out is said in words.
 * Does not: give exposed names (`names.ts`) or know groups (`view.ts`).
 */
import { createHash } from 'node:crypto';
import type { Limits } from '../config/limits.ts';
import type { Deadline } from '../kernel/deadline.ts';
import type { Kernel } from '../kernel/kernel.ts';
import type { ListedTool, Listing, RawListing } from '../kernel/snapshot.ts';
import { cutJsonString, cutText } from './_cut.ts';
import { decodeString, type Member, rebuild, scanMembers } from './_members.ts';
import { isObject, type Repair, repairTool } from './_repair.ts';

type CatalogLimits = Pick<Limits, 'bodyDepth' | 'serverTools' | 'descriptionBytes' | 'schemaBytes'>;

/** Longest native name, bytes; MCP 2025-11-25 asks for 128 at most. */
const NAME_BYTES = 512;
/** Members of a tool object; the protocol knows nine. */
const TOOL_MEMBERS = 256;
/** Hidden tools named one by one; the rest is one row with their number. */
const HIDDEN_ROWS = 100;
/** Bytes looked at in one step: 1 to 3 ms of work (measured). */
const STEP_BYTES = 128 * 1024;

interface Hidden {
  readonly native: string;
  readonly why: string;
}

/** The whole listing in one turn of the loop: 1,000 ordinary tools cost about 10 ms. A hub uses `listingInTurns`. */
export function listingFrom(raw: RawListing, limits: CatalogLimits): Listing {
  const steps = listingSteps(raw, limits);
  for (;;) {
    const step = steps.next();
    if (step.done) return step.value;
  }
}

/** The same, letting the loop turn every few milliseconds. Rejects with `wait-expired` at the deadline. */
export async function listingInTurns(
  raw: RawListing,
  limits: CatalogLimits,
  { timers, waits }: Pick<Kernel, 'timers' | 'waits'>,
  deadline: Deadline,
): Promise<Listing> {
  const steps = listingSteps(raw, limits);
  for (;;) {
    const step = steps.next();
    if (step.done) return step.value;
    const turn = new Promise<void>((resolve) => timers.after(0, resolve));
    await waits.for(turn, { label: 'background', owner: raw.server, deadline });
  }
}

function* listingSteps(raw: RawListing, limits: CatalogLimits): Generator<void, Listing> {
  const tools: ListedTool[] = [];
  const hidden: Hidden[] = [];
  const seen = new Set<string>();
  const hash = createHash('sha256').update(raw.instructions);
  let stepBytes = 0;
  for (const [index, bytes] of raw.tools.entries()) {
    stepBytes += bytes.length;
    if (stepBytes > STEP_BYTES) {
      stepBytes = bytes.length;
      yield;
    }
    const read =
      tools.length < limits.serverTools ? readTool(bytes, limits) : hide('', 'more tools than serverTools allows');
    if ('why' in read) hidden.push({ native: read.native || `#${index + 1}`, why: read.why });
    else if (seen.has(read.native))
      hidden.push({ native: read.native, why: 'another tool of this server has the same name' });
    else {
      seen.add(read.native);
      tools.push(read);
      hash.update(read.dropStructured ? '\n-' : '\n+').update(read.json);
    }
  }
  return {
    server: raw.server,
    atMs: raw.atMs,
    digest: hash.digest('hex'),
    tools,
    hidden: shortened(hidden),
    instructions: cutText(raw.instructions, limits.descriptionBytes),
  };
}

function shortened(hidden: readonly Hidden[]): readonly Hidden[] {
  if (hidden.length <= HIDDEN_ROWS) return hidden;
  const rest = hidden.length - HIDDEN_ROWS;
  return [...hidden.slice(0, HIDDEN_ROWS), { native: `and ${rest} more`, why: hidden.at(-1)?.why ?? '' }];
}

function hide(native: string, why: string): Hidden {
  return { native, why };
}

function readTool(bytes: Buffer, limits: CatalogLimits): ListedTool | Hidden {
  const ceilings = { depth: limits.bodyDepth, valueBytes: limits.schemaBytes, members: TOOL_MEMBERS };
  const { members, fault } = scanMembers({ bytes, at: 0, end: bytes.length }, ceilings);
  const native = nameIn(bytes, members);
  if (fault !== undefined) return hide(typeof native === 'string' ? native : '', `the tool ${fault}`);
  if (typeof native !== 'string') return native;
  const large = tooLarge(members, limits);
  if (large !== undefined) return hide(native, large);
  const repair: Repair = { changes: new Map(), words: [], dropStructured: false };
  cutDescription(bytes, members, limits.descriptionBytes, repair);
  const text = repair.changes.size === 0 ? bytes.toString('utf8') : rebuild(bytes, members, repair.changes);
  const tool = parsed(text);
  if (!isObject(tool)) return hide(native, 'the tool is not JSON');
  const why = repairTool(tool, bytes, members, repair);
  if (why !== undefined) return hide(native, why);
  return {
    native,
    json: repair.changes.size === 0 ? text : rebuild(bytes, members, repair.changes),
    title: titleOf(tool, native),
    repaired: repair.words.length === 0 ? undefined : repair.words.join('; '),
    dropStructured: repair.dropStructured,
  };
}

function nameIn(bytes: Buffer, members: readonly Member[]): string | Hidden {
  const member = members.find(({ key }) => key === 'name');
  if (!member) return hide('', 'the tool has no name');
  if (bytes[member.at] !== 0x22) return hide('', 'the name is not a string');
  if (member.end - member.at - 2 > NAME_BYTES) return hide('', `the name is longer than ${NAME_BYTES} bytes`);
  const native = decodeString(bytes, member.at, member.end);
  if (native === undefined) return hide('', 'the name is not JSON');
  if (native.trim() === '') return hide('', 'the name is empty');
  if (UNSEEN.test(native)) return hide(native.replaceAll(UNSEEN_ALL, '?'), 'the name has control characters');
  return native;
}
/** Control and format characters, halves of characters, line separators: a name must be what it looks like. */
const UNSEEN = /[\p{Cc}\p{Cf}\p{Cs}\u2028\u2029]/u;
const UNSEEN_ALL = new RegExp(UNSEEN.source, 'gu');

function tooLarge(members: readonly Member[], { schemaBytes }: CatalogLimits): string | undefined {
  let rest = 0;
  for (const { key, at, end } of members) {
    if (key === 'description') continue;
    if (end - at > schemaBytes) return `${key.slice(0, 40)} is larger than schemaBytes (${schemaBytes})`;
    if (key !== 'inputSchema' && key !== 'outputSchema') rest += end - at + key.length;
  }
  return rest > schemaBytes ? `the tool is larger than schemaBytes (${schemaBytes}) without its schemas` : undefined;
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

function titleOf(tool: Readonly<Record<string, unknown>>, native: string): string {
  if (typeof tool.title === 'string' && tool.title !== '') return cutText(tool.title, NAME_BYTES);
  const { annotations } = tool;
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
