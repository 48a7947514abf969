/**
 * From what a server listed to what the hub shows: each tool, prompt, resource and template on its own, so that a bad one hides or repairs
 * only itself; a list that could not be read keeps what was last known.
 * Promises: an untouched object keeps its exact text (key order, unknown keys, $defs, annotations); what was changed or left out is said in
 * words; each list has a digest of its own.
 * Does not: give exposed names (`names.ts`), know groups (`view.ts`), or judge one object (`_item.ts`).
 */
import { createHash } from 'node:crypto';
import type { Deadline } from '../kernel/deadline.ts';
import type { Kernel } from '../kernel/kernel.ts';
import type { Hidden, ItemKind, Listed, ListedTool, Listing, RawListing } from '../kernel/snapshot.ts';
import { paramHeaderFault, withoutIllegalParamHeaders } from '../protocol/era-2026/param-headers.ts';
import { VERSION_2026 } from '../protocol/era-2026/versions.ts';
import { type CatalogLimits, readItem } from './_item.ts';
import { cutText } from './_truncate.ts';

/** Hidden rows named one by one; the rest is one row with their number. */
const HIDDEN_ROWS = 100;
/** Bytes looked at in one step: 1 to 3 ms of work (measured). */
const STEP_BYTES = 128 * 1024;

/** The whole listing in one turn of the loop: 1,000 ordinary tools cost about 10 ms. A hub uses `listingInTurns`. */
export function listingFrom(raw: RawListing, limits: CatalogLimits, before?: Listing): Listing {
  const steps = listingSteps(raw, limits, before);
  for (;;) {
    const step = steps.next();
    if (step.done) return step.value;
  }
}

/** The same, letting the loop turn every few milliseconds. `before` = the last known one. Rejects with `wait-expired` at the deadline. */
export async function listingInTurns(
  raw: RawListing,
  parts: {
    readonly kernel: Pick<Kernel, 'timers' | 'waits'>;
    readonly limits: CatalogLimits;
    readonly before: Listing | undefined;
  },
  deadline: Deadline,
): Promise<Listing> {
  const { timers, waits } = parts.kernel;
  const steps = listingSteps(raw, parts.limits, parts.before);
  for (;;) {
    const step = steps.next();
    if (step.done) return step.value;
    const turn = new Promise<void>((resolve) => timers.after(0, resolve));
    await waits.for(turn, { label: 'background', owner: raw.server, deadline });
  }
}

interface OneList {
  readonly items: readonly ListedTool[];
  readonly digest: string;
}

function* listingSteps(raw: RawListing, limits: CatalogLimits, before: Listing | undefined): Generator<void, Listing> {
  const hidden: Hidden[] = raw.unread.map(({ kind, why }) => ({ kind, native: '', why }));
  const beside = { text: raw.instructions, repeats: raw.repeats };
  const tools = yield* listSteps('tool', unlessCut('tool', raw, before, 'tools'), limits, hidden, beside);
  const prompts = yield* listSteps('prompt', unlessCut('prompt', raw, before, 'prompts'), limits, hidden);
  const resources = yield* listSteps('resource', unlessCut('resource', raw, before, 'resources'), limits, hidden);
  const templates = yield* listSteps('template', unlessCut('template', raw, before, 'templates'), limits, hidden);
  const digests = {
    tool: tools?.digest ?? before?.digests.tool ?? '',
    prompt: prompts?.digest ?? before?.digests.prompt ?? '',
    resource: resources?.digest ?? before?.digests.resource ?? '',
    template: templates?.digest ?? before?.digests.template ?? '',
  };
  return {
    server: raw.server,
    atMs: raw.atMs,
    digest: createHash('sha256')
      .update([...Object.values(digests), ...raw.declared, ...spokenDigest(raw)].join('\n'))
      .digest('hex'),
    digests,
    tools: tools?.items ?? before?.tools ?? [],
    prompts: prompts?.items.map(plain) ?? before?.prompts ?? [],
    resources: resources?.items.map(plain) ?? before?.resources ?? [],
    templates: templates?.items.map(plain) ?? before?.templates ?? [],
    hidden: shortened(hidden),
    declared: raw.declared,
    spoken: raw.spoken,
    ...(raw.opening ? { opening: raw.opening } : {}),
    instructions: cutText(raw.instructions, limits.descriptionBytes),
  };
}

/** What of the handshake is to be told to control when it changes. */
function spokenDigest({ spoken, opening }: RawListing): readonly string[] {
  return [...(spoken === VERSION_2026 ? [spoken] : []), ...(opening ? [JSON.stringify(opening)] : [])];
}

/** Undefined = the list was not read, or only the first pages of it, which are fewer rows than were known before. */
function unlessCut(
  kind: ItemKind,
  raw: RawListing,
  before: Listing | undefined,
  list: 'tools' | 'prompts' | 'resources' | 'templates',
): readonly Buffer[] | undefined {
  const rows = raw[list];
  const isCut = raw.unread.some((one) => one.kind === kind && one.rows !== undefined);
  return isCut && (before?.[list].length ?? 0) > (rows?.length ?? 0) ? undefined : rows;
}

function plain({ native, json, title, repaired }: ListedTool): Listed {
  return { native, json, title, repaired };
}

/**
 * Undefined = the list was not read. `beside.text` goes into the digest too; `beside.repeats` = arguments are repeated in headers, and a tool whose
 * headers cannot be sent as it declares them cannot be called.
 */
function* listSteps(
  kind: ItemKind,
  list: readonly Buffer[] | undefined,
  limits: CatalogLimits,
  hidden: Hidden[],
  beside: { readonly text: string; readonly repeats?: boolean | undefined } = { text: '' },
): Generator<void, OneList | undefined> {
  if (list === undefined) return undefined;
  const items: ListedTool[] = [];
  const seen = new Set<string>();
  const hash = createHash('sha256').update(beside.text);
  let stepBytes = 0;
  let listBytes = 0;
  for (const [index, bytes] of list.entries()) {
    stepBytes += bytes.length;
    if (stepBytes > STEP_BYTES) {
      stepBytes = bytes.length;
      yield;
    }
    listBytes += bytes.length;
    const read = judged(kind, bytes, { limits, items: items.length, listBytes, repeats: beside.repeats === true });
    if ('why' in read) hidden.push({ ...read, native: read.native || `#${index + 1}` });
    else if (seen.has(read.native))
      hidden.push({ kind, native: read.native, why: `another ${kind} of this server has the same name` });
    else {
      seen.add(read.native);
      items.push(read);
      hash.update(read.dropStructured ? '\n-' : '\n+').update(read.json);
    }
  }
  return { items, digest: items.length === 0 && beside.text === '' ? '' : hash.digest('hex') };
}

/** Sizes first: a row beyond what a list may hold is not looked into. */
function judged(
  kind: ItemKind,
  bytes: Buffer,
  at: { readonly limits: CatalogLimits; readonly items: number; readonly listBytes: number; readonly repeats: boolean },
): ListedTool | Hidden {
  const { limits } = at;
  if (at.items >= limits.serverTools) return { kind, native: '', why: `more ${kind}s than serverTools allows` };
  if (at.listBytes > limits.listingBytes)
    return { kind, native: '', why: `more bytes of ${kind}s than listingBytes (${limits.listingBytes}) allows` };
  const read = readItem(kind, bytes, limits);
  if ('why' in read) return read;
  const why = kind === 'tool' ? paramHeaderFault(read.json) : undefined;
  if (why === undefined) return read;
  return at.repeats ? { kind, native: read.native, why } : withoutHeaders(read, why);
}

/** A server of the 2025 dates knows no such rules, and clients of 2026-07-28 must drop a tool with an illegal declaration. */
function withoutHeaders(tool: ListedTool, why: string): ListedTool {
  const words = `illegal x-mcp-header removed: ${why}`;
  const repaired = tool.repaired === undefined ? words : `${tool.repaired}; ${words}`;
  return { ...tool, json: withoutIllegalParamHeaders(tool.json), repaired };
}

function shortened(hidden: readonly Hidden[]): readonly Hidden[] {
  if (hidden.length <= HIDDEN_ROWS) return hidden;
  const rest = hidden.length - HIDDEN_ROWS;
  return [
    ...hidden.slice(0, HIDDEN_ROWS),
    { kind: hidden.at(-1)?.kind ?? 'tool', native: `and ${rest} more`, why: hidden.at(-1)?.why ?? '' },
  ];
}
