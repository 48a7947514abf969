/**
 * Everything callable, as each group sees it. Rebuilt from the snapshot off the path, swapped as one reference; a list is never a live
 * fan-out, and a server that is down keeps its last known tools.
 * Promises: views are immutable and synchronous to get; a view whose digest is unchanged is the same object with its bytes; listeners
 * hear of exactly the views, and the lists of them, that changed.
 * Does not: ask servers, keep listings or give names (`control/` does, with `listing.ts` and `names.ts`).
 */
import type { Limits } from '../config/limits.ts';
import { CappedMap } from '../kernel/capped.ts';
import type { Kernel } from '../kernel/kernel.ts';
import type { GivenName, GroupSpec, ServerSpec, Snapshot } from '../kernel/snapshot.ts';
import { atOnce } from '../kernel/take-turn.ts';
import { type ExposedOf, fillShelves, type ServerShelf } from './_server-index.ts';
import type { OwnerOf } from './_view-names.ts';
import type { AddressBook } from './_view-resources.ts';
import { type ListKind, ONE_SERVER, type Pick as Picked, type ShelfView, type View, viewOf } from './view.ts';

/** The part of the snapshot that the catalog is made of. */
export type CatalogWorld = Pick<Snapshot, 'servers' | 'groups' | 'listings' | 'names'>;

export interface PathTarget {
  readonly kind: 'group' | 'server';
  readonly slug: string;
}

/** Which lists of a view have changed; of one that came or went, all. */
export interface ViewChange {
  readonly view: string;
  readonly kinds: readonly ListKind[];
}

export interface Catalog {
  /** Takes a new world. Synchronous and linear in servers and tools; nothing is serialised here. */
  rebuild(world: CatalogWorld): void;
  /** The same in steps of about a millisecond. Returns what puts the new catalog in place, which is to follow in the same turn. */
  rebuildSteps(world: CatalogWorld): Generator<void, () => void>;
  viewAll(): View;
  /** Undefined = there is no such group. */
  viewOfGroup(slug: string): View | undefined;
  /** Undefined = there is no such server, or it is disabled. */
  viewOfServer(slug: string): View | undefined;
  /** The union of groups, for keys that are limited to some. Groups that are gone add nothing. */
  viewOfGroups(slugs: readonly string[]): View;
  /** Called after a rebuild with the views that changed, came or went; not when none did. Must not throw. Returns how to stop. */
  onChange(listener: (changed: readonly ViewChange[]) => void): () => void;
  /** Whether its lists have been taken in, be they empty. */
  isListed(slug: string): boolean;
  /** Called after each rebuild. Must not throw. Returns how to stop. */
  onRebuilt(listener: () => void): () => void;
  /** What a path segment (already percent-decoded) names, by slug or by configured name; a group wins over a server. */
  pathOf(segment: string): PathTarget | undefined;
}

export interface CatalogParts {
  readonly kernel: Kernel;
  readonly limits: Pick<Limits, 'servers'>;
}

/** Everything derived from one world. */
interface Built {
  readonly shelves: ReadonlyMap<string, ServerShelf>;
  readonly groups: ReadonlyMap<string, GroupSpec>;
  readonly views: ReadonlyMap<string, ShelfView>;
  readonly paths: ReadonlyMap<string, PathTarget>;
  /** Servers whose lists are in it. */
  readonly listed: ReadonlySet<string>;
}

export function createCatalog({ kernel, limits }: CatalogParts): Catalog {
  const unions = new CappedMap<string, ShelfView>('catalog.unions', limits.servers, 'drop-oldest', kernel.ceilings);
  let listeners: readonly ((changed: readonly ViewChange[]) => void)[] = []; // bounded by: the rooms that listen
  let owners = atOnce(ownersOf([]));
  let built: Built = { shelves: new Map(), groups: new Map(), views: new Map(), paths: new Map(), listed: new Set() };
  const rebuiltListeners = new Set<() => void>(); // bounded by: calls that wait for a first list
  const ownerOf = givenBy(() => owners);

  function view(key: string, picks: readonly Picked[], before: ShelfView | undefined): ShelfView {
    return viewOf(key, picks, ownerOf, before);
  }

  function* rebuildSteps(world: CatalogWorld): Generator<void, () => void> {
    const before = built;
    const nextOwners = yield* ownersOf(world.names);
    const shelves = yield* shelvesOf(world, before.shelves);
    const views = new Map<string, ShelfView>();
    function* add(key: string, picks: readonly Picked[]): Generator<void, void> {
      const next = view(key, picks, before.views.get(key));
      yield* next.warm(before.views.get(key));
      views.set(key, next);
    }
    const all = [...shelves.values()].map((shelf) => ({ shelf, allowed: undefined }));
    yield* add('all', all);
    for (const pick of all) yield* add(`${ONE_SERVER}${pick.shelf.server}`, [pick]);
    for (const group of world.groups) yield* add(`group:${group.slug}`, picksOf([group], shelves));
    const groups = new Map(world.groups.map((group) => [group.slug, group]));
    const listed = new Set(world.listings.map(({ server }) => server));
    const next: Built = { shelves, groups, views, paths: pathsOf(world), listed };
    const warmed = new Map<string, ShelfView>(); // bounded by: catalog.unions
    for (const [key, was] of [...unions.entries()]) {
      const now = union(key, was, next);
      yield* now.warm(was);
      warmed.set(key, now);
    }
    return () => {
      owners = nextOwners;
      built = next;
      const changed = [...changesOf(before.views, views), ...takeUnions(warmed)];
      if (changed.length > 0) for (const listener of listeners) listener(changed);
      for (const listener of [...rebuiltListeners]) listener();
    };
  }

  /** Those that came meanwhile are made here. */
  function takeUnions(warmed: ReadonlyMap<string, ShelfView>): ViewChange[] {
    const changed: ViewChange[] = []; // bounded by: catalog.unions
    for (const [key, before] of [...unions.entries()]) {
      const next = warmed.get(key) ?? union(key, before, built);
      if (next === before) continue;
      unions.set(key, next);
      const kinds = changedKinds(before, next);
      if (kinds.length > 0) changed.push({ view: key, kinds });
    }
    return changed;
  }

  function union(key: string, before: ShelfView | undefined, { groups, shelves }: Built): ShelfView {
    const slugs = key.slice(UNION.length).split(',');
    const shown = slugs.map((slug) => groups.get(slug)).filter((group) => group !== undefined);
    return view(key, picksOf(shown, shelves), before);
  }

  return {
    rebuild: (world) => atOnce(rebuildSteps(world))(),
    rebuildSteps,
    viewAll: () => built.views.get('all') ?? view('all', [], undefined),
    viewOfGroup: (slug) => built.views.get(`group:${slug}`),
    viewOfServer: (slug) => built.views.get(`${ONE_SERVER}${slug}`),
    viewOfGroups(slugs) {
      const key = `${UNION}${[...new Set(slugs)].sort().join(',')}`;
      const known = unions.get(key);
      if (known) return known;
      const fresh = union(key, undefined, built);
      unions.set(key, fresh);
      return fresh;
    },
    onChange(listener) {
      listeners = [...listeners, listener];
      return () => {
        listeners = listeners.filter((other) => other !== listener);
      };
    },
    isListed: (slug) => built.listed.has(slug),
    onRebuilt(listener) {
      rebuiltListeners.add(listener);
      return () => rebuiltListeners.delete(listener);
    },
    pathOf: (segment) => built.paths.get(segment),
  };
}
const UNION = 'groups:';

/** `age` = position in the order of giving. */
type Owners = Readonly<
  Record<GivenName['kind'], ReadonlyMap<string, { readonly name: GivenName; readonly age: number }>>
>;

/** Rows of one step: less than 1 ms. */
const STEP_ROWS = 1000;

function* ownersOf(names: readonly GivenName[]): Generator<void, Owners> {
  const owners = { tool: new Map(), prompt: new Map(), resource: new Map(), template: new Map() };
  for (const [at, name] of names.entries()) {
    if (at % STEP_ROWS === STEP_ROWS - 1) yield;
    owners[name.kind].set(name.exposed, { name, age: name.age ?? UNKNOWN_AGE + at });
  }
  return owners;
}

/** Names that control has not given yet come last, in their order. */
const UNKNOWN_AGE = 1e12;

/** Who was given which name, by the owners at the time of asking. */
function givenBy(owners: () => Owners): {
  readonly tool: OwnerOf;
  readonly prompt: OwnerOf;
  readonly addresses: AddressBook;
} {
  const given =
    (kind: GivenName['kind']): OwnerOf =>
    (exposed) =>
      owners()[kind].get(exposed)?.name;
  return {
    tool: given('tool'),
    prompt: given('prompt'),
    addresses: {
      resource: given('resource'),
      template: given('template'),
      ageOf: (kind: 'resource' | 'template', exposed: string) => owners()[kind].get(exposed)?.age,
      *all() {
        for (const kind of ['resource', 'template'] as const)
          for (const { name } of owners()[kind].values()) yield name;
      },
    },
  };
}

function* shelvesOf(
  world: CatalogWorld,
  before: ReadonlyMap<string, ServerShelf>,
): Generator<void, ReadonlyMap<string, ServerShelf>> {
  const listings = new Map(world.listings.map((listing) => [listing.server, listing]));
  const names = new Map<string, Map<string, string>>();
  for (const [at, { kind, exposed, server, native }] of world.names.entries()) {
    if (at % STEP_ROWS === STEP_ROWS - 1) yield;
    const key = `${kind} ${server}`;
    const ofServer = names.get(key);
    if (ofServer) ofServer.set(native, exposed);
    else names.set(key, new Map([[native, exposed]]));
  }
  const shelves = new Map<string, ServerShelf>();
  for (const spec of world.servers) {
    if (!spec.enabled) continue;
    const [tool, prompt, resource, template] = KINDS_OF_ITEMS.map((kind) => names.get(`${kind} ${spec.slug}`));
    const exposed = { tool, prompt, resource, template };
    const exposedOf: ExposedOf = (kind, native) => exposed[kind]?.get(native);
    shelves.set(spec.slug, yield* fillShelves(spec, listings.get(spec.slug), exposedOf, before.get(spec.slug)));
  }
  return shelves;
}

const KINDS_OF_ITEMS = ['tool', 'prompt', 'resource', 'template'] as const;

/** What groups show together: a server that one of them shows whole is shown whole. In configuration order. */
function picksOf(groups: readonly GroupSpec[], shelves: ReadonlyMap<string, ServerShelf>): Picked[] {
  const picks: Picked[] = [];
  const withSlugs = groups.map((group) => ({
    tools: group.tools,
    slugs: group.servers === '*' ? undefined : new Set(group.servers),
  }));
  for (const shelf of shelves.values()) {
    const holders = withSlugs.filter(({ slugs }) => slugs === undefined || slugs.has(shelf.server));
    if (holders.length === 0) continue;
    const lists = holders.map(({ tools }) => (Object.hasOwn(tools, shelf.server) ? tools[shelf.server] : undefined));
    const isWhole = lists.some((list) => list === undefined);
    picks.push({ shelf, allowed: isWhole ? undefined : new Set(lists.flatMap((list) => list ?? [])) });
  }
  return picks;
}

const KINDS: readonly ListKind[] = ['tools', 'prompts', 'resources'];

function changedKinds(before: View | undefined, now: View): readonly ListKind[] {
  return KINDS.filter((kind) => before?.digests[kind] !== now.digests[kind]);
}

function changesOf(before: ReadonlyMap<string, View>, now: ReadonlyMap<string, View>): ViewChange[] {
  const changed = [...now]
    .map(([key, view]) => ({ view: key, kinds: changedKinds(before.get(key), view) }))
    .filter(({ kinds }) => kinds.length > 0);
  const gone = [...before.keys()].filter((key) => !now.has(key));
  return [...changed, ...gone.map((key) => ({ view: key, kinds: KINDS }))];
}

/** Later entries win, so the strongest claim comes last: server name, server slug, group name, group slug. */
function pathsOf({ servers, groups }: CatalogWorld): ReadonlyMap<string, PathTarget> {
  const enabled: readonly ServerSpec[] = servers.filter((server) => server.enabled);
  const paths = new Map<string, PathTarget>();
  for (const { name, slug } of enabled.toReversed()) paths.set(name, { kind: 'server', slug });
  for (const { slug } of enabled) paths.set(slug, { kind: 'server', slug });
  for (const { name, slug } of groups.toReversed()) paths.set(name, { kind: 'group', slug });
  for (const { slug } of groups) paths.set(slug, { kind: 'group', slug });
  return paths;
}
