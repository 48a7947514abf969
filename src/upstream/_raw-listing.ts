/**
 * What a link knows of its server's lists: what was just read, and for a list that could not be read the last good one.
 */
import type { Declared, RawListing, ServerSpec } from '../kernel/snapshot.ts';
import type { ServerHello } from '../protocol/era-2025/initialize.ts';
import { VERSION_2026 } from '../protocol/era-2026/versions.ts';
import type { ServerLists } from './list.ts';

export function rawListingOf(parts: {
  readonly spec: ServerSpec;
  /** Wall clock. */
  readonly atMs: number;
  readonly hello: ServerHello;
  readonly lists: ServerLists;
  readonly before: RawListing | undefined;
}): RawListing {
  const { spec, atMs, hello, lists, before } = parts;
  const repeats = hello.version === VERSION_2026 && spec.transport.kind !== 'stdio';
  return {
    server: spec.slug,
    atMs,
    tools: lists.tools,
    prompts: lists.prompts ?? before?.prompts,
    resources: lists.resources ?? before?.resources,
    templates: lists.templates ?? before?.templates,
    unread: lists.unread,
    ...(repeats ? { repeats } : {}),
    declared: declaredBy(hello.capabilities),
    instructions: hello.instructions,
    spoken: hello.version,
  };
}

/** The same rows in the same order, and nothing else that is new. */
export function isSameListing(a: RawListing | undefined, b: RawListing): boolean {
  if (a === undefined || besides(a) !== besides(b)) return false;
  return (['tools', 'prompts', 'resources', 'templates'] as const).every((kind) => {
    const [before, now] = [a[kind], b[kind]];
    return before?.length === now?.length && (now ?? []).every((row, at) => before?.[at]?.equals(row) === true);
  });
}

function besides({ unread, declared, instructions, spoken, repeats }: RawListing): string {
  return JSON.stringify([unread.map(({ kind, why }) => [kind, why]), declared, instructions, spoken, repeats]);
}

const DECLARABLE: readonly Declared[] = ['tools', 'prompts', 'resources', 'completions', 'logging'];

function declaredBy(capabilities: ServerHello['capabilities']): readonly Declared[] {
  const { resources } = capabilities;
  const subscribes =
    typeof resources === 'object' && resources !== null && 'subscribe' in resources && resources.subscribe;
  const declared = DECLARABLE.filter((name) => capabilities[name] !== undefined);
  return subscribes === true ? [...declared, 'subscribe'] : declared;
}

/** The same the other way round, for a sibling hub. */
export function capabilitiesOf(declared: readonly Declared[]): object {
  const names = declared.filter((name) => name !== 'subscribe');
  const capabilities: Record<string, object> = Object.fromEntries(names.map((name) => [name, {}]));
  return declared.includes('subscribe') ? { ...capabilities, resources: { subscribe: true } } : capabilities;
}
