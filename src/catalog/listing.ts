/**
 * Turns what a server listed into what the hub shows, item by item: an invalid one is repaired or hidden alone; a list
 * that could not be read keeps its last known content. `names.ts` assigns exposed names, `_item.ts` checks one item.
 * Guarantees: an unchanged object keeps its exact text (key order, unknown keys, `$defs`, annotations); repairs and
 * hidden items are reported; each list has its own digest.
 */
import { createHash } from 'node:crypto';
import type { Hidden, ItemKind, Listed, ListedTool, Listing, RawListing } from '../model/snapshot.ts';
import { VERSION_2026 } from '../protocol/era-2026/versions.ts';
import type { Deadline } from '../runtime/deadline.ts';
import type { Runtime } from '../runtime/runtime.ts';
import type { CatalogLimits } from './_item.ts';
import { listSteps } from './_list-steps.ts';
import { truncateText } from './_truncate.ts';

/** Hidden rows reported individually; the rest is one row with their number. */
const MAX_HIDDEN_ROWS = 100;

/**
 * Builds a listing in one turn of the event loop: 1,000 ordinary tools cost about 10 ms. Workers use
 * `buildListingInTurns`.
 */
export function buildListing(raw: RawListing, limits: CatalogLimits, before?: Listing): Listing {
  const steps = listingSteps(raw, limits, before);
  for (;;) {
    const step = steps.next();
    if (step.done) return step.value;
  }
}

/**
 * Like `buildListing`, yielding to the event loop every few ms. `before`: the last known listing. Rejects with
 * `wait-expired` at the deadline.
 */
export async function buildListingInTurns(
  raw: RawListing,
  parts: {
    readonly runtime: Pick<Runtime, 'timers' | 'waits'>;
    readonly limits: CatalogLimits;
    readonly before: Listing | undefined;
  },
  deadline: Deadline,
): Promise<Listing> {
  const { timers, waits } = parts.runtime;
  const steps = listingSteps(raw, parts.limits, parts.before);
  for (;;) {
    const step = steps.next();
    if (step.done) return step.value;
    const turn = new Promise<void>((resolve) => timers.after(0, resolve));
    await waits.for(turn, { label: 'background', owner: raw.server, deadline });
  }
}

function* listingSteps(raw: RawListing, limits: CatalogLimits, before: Listing | undefined): Generator<void, Listing> {
  const hidden: Hidden[] = raw.unread.map(({ kind, why }) => ({ kind, native: '', why }));
  const beside = { text: raw.instructions, repeats: raw.repeats };
  const tools = yield* listSteps('tool', rowsUnlessTruncated('tool', raw, before, 'tools'), limits, hidden, beside);
  const prompts = yield* listSteps('prompt', rowsUnlessTruncated('prompt', raw, before, 'prompts'), limits, hidden);
  const resources = yield* listSteps(
    'resource',
    rowsUnlessTruncated('resource', raw, before, 'resources'),
    limits,
    hidden,
  );
  const templates = yield* listSteps(
    'template',
    rowsUnlessTruncated('template', raw, before, 'templates'),
    limits,
    hidden,
  );
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
      .update([...Object.values(digests), ...raw.declared, ...handshakeDigest(raw)].join('\n'))
      .digest('hex'),
    digests,
    tools: tools?.items ?? before?.tools ?? [],
    prompts: prompts?.items.map(toListed) ?? before?.prompts ?? [],
    resources: resources?.items.map(toListed) ?? before?.resources ?? [],
    templates: templates?.items.map(toListed) ?? before?.templates ?? [],
    hidden: limitHidden(hidden),
    declared: raw.declared,
    spoken: raw.spoken,
    ...(raw.opening ? { opening: raw.opening } : {}),
    instructions: truncateText(raw.instructions, limits.descriptionBytes),
  };
}

/** Returns the parts of the handshake that control must receive when they change. */
function handshakeDigest({ spoken, opening }: RawListing): readonly string[] {
  return [...(spoken === VERSION_2026 ? [spoken] : []), ...(opening ? [JSON.stringify(opening)] : [])];
}

/** Returns undefined when the list was not read, or only its first pages with fewer rows than before. */
function rowsUnlessTruncated(
  kind: ItemKind,
  raw: RawListing,
  before: Listing | undefined,
  list: 'tools' | 'prompts' | 'resources' | 'templates',
): readonly Buffer[] | undefined {
  const rows = raw[list];
  const isCut = raw.unread.some((one) => one.kind === kind && one.rows !== undefined);
  return isCut && (before?.[list].length ?? 0) > (rows?.length ?? 0) ? undefined : rows;
}

function toListed({ native, json, title, repaired }: ListedTool): Listed {
  return { native, json, title, repaired };
}

function limitHidden(hidden: readonly Hidden[]): readonly Hidden[] {
  if (hidden.length <= MAX_HIDDEN_ROWS) return hidden;
  const rest = hidden.length - MAX_HIDDEN_ROWS;
  return [
    ...hidden.slice(0, MAX_HIDDEN_ROWS),
    { kind: hidden.at(-1)?.kind ?? 'tool', native: `and ${rest} more`, why: hidden.at(-1)?.why ?? '' },
  ];
}
