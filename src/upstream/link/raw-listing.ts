/**
 * Combines the lists that were just read with the last good ones of those that could not be read.
 */
import type { LearnedOpening } from '../../model/raw-listing.ts';
import type { Declared, ItemKind, RawListing, ServerSpec } from '../../model/snapshot.ts';
import type { InitializeResult } from '../../protocol/era-2025/initialize.ts';
import { VERSION_2026 } from '../../protocol/era-2026/versions.ts';
import type { ServerLists } from './fetch-lists.ts';

export function rawListingOf(parts: {
  readonly spec: ServerSpec;
  /** Wall clock, ms. */
  readonly atMs: number;
  readonly hello: InitializeResult;
  readonly lists: ServerLists;
  readonly before: RawListing | undefined;
  readonly opening: LearnedOpening | undefined;
}): RawListing {
  const { spec, atMs, hello, lists, before, opening } = parts;
  const longest = (kind: ItemKind, now: readonly Buffer[] | undefined, last: readonly Buffer[] | undefined) =>
    now === undefined || (isCut(lists, kind) && (last?.length ?? 0) > now.length) ? last : now;
  const repeats = hello.version === VERSION_2026 && spec.transport.kind !== 'stdio';
  return {
    server: spec.slug,
    atMs,
    tools: longest('tool', lists.tools, before?.tools),
    prompts: longest('prompt', lists.prompts, before?.prompts),
    resources: longest('resource', lists.resources, before?.resources),
    templates: longest('template', lists.templates, before?.templates),
    unread: lists.unread,
    isBlank: lists.isBlank,
    ...(repeats ? { repeats } : {}),
    declared: declaredBy(hello.capabilities),
    instructions: hello.instructions,
    spoken: hello.version,
    ...(opening ? { opening } : {}),
  };
}

/** Tells whether only the first pages of this list were read. */
function isCut({ unread }: Pick<RawListing, 'unread'>, kind: ItemKind): boolean {
  return unread.some((one) => one.kind === kind && one.rows !== undefined);
}

/** Tells whether two listings have the same rows in the same order, and nothing else is new. */
export function isSameListing(a: RawListing | undefined, b: RawListing): boolean {
  if (a === undefined || besides(a) !== besides(b)) return false;
  return (['tools', 'prompts', 'resources', 'templates'] as const).every((kind) => {
    const [before, now] = [a[kind], b[kind]];
    return before?.length === now?.length && (now ?? []).every((row, at) => before?.[at]?.equals(row) === true);
  });
}

function besides({ unread, isBlank, declared, instructions, spoken, repeats, opening }: RawListing): string {
  return JSON.stringify([
    unread.map(({ kind, rows }) => [kind, rows]),
    isBlank,
    declared,
    instructions,
    spoken,
    repeats,
    opening,
  ]);
}

const DECLARABLE: readonly Declared[] = ['tools', 'prompts', 'resources', 'completions', 'logging'];

function declaredBy(capabilities: InitializeResult['capabilities']): readonly Declared[] {
  const { resources } = capabilities;
  const subscribes =
    typeof resources === 'object' && resources !== null && 'subscribe' in resources && resources.subscribe;
  const declared = DECLARABLE.filter((name) => capabilities[name] !== undefined);
  return subscribes === true ? [...declared, 'subscribe'] : declared;
}

/** Returns capabilities from declarations, for another worker. */
export function capabilitiesOf(declared: readonly Declared[]): object {
  const names = declared.filter((name) => name !== 'subscribe');
  const capabilities: Record<string, object> = Object.fromEntries(names.map((name) => [name, {}]));
  return declared.includes('subscribe') ? { ...capabilities, resources: { subscribe: true } } : capabilities;
}
