/**
 * Everything callable, as each group sees it. Rebuilt from the snapshot off the path, swapped as one reference; a list is never a live
 * fan-out, and a server that is down keeps its last known tools.
 * Promises: views are immutable and synchronous to get; a view whose digest is unchanged is the same object with its bytes; listeners
 * hear of exactly the views that changed.
 * Does not: ask servers, keep listings or give names (`control/` does, with `listing.ts` and `names.ts`).
 */
import type { Limits } from '../config/limits.ts';
import { CappedMap } from '../kernel/capped.ts';
import type { Kernel } from '../kernel/kernel.ts';
import type { GivenName, GroupSpec, ServerSpec, Snapshot } from '../kernel/snapshot.ts';
import { fillShelf, type Shelf } from './_shelf.ts';
import { digestOf, type OwnerOf, type Pick as Picked, ShelfView, type View } from './view.ts';

/** The part of the snapshot that the catalog is made of. */
export type CatalogWorld = Pick<Snapshot, 'servers' | 'groups' | 'listings' | 'names'>;

export interface PathTarget {
  readonly kind: 'group' | 'server';
  readonly slug: string;
}

export interface Catalog {
  /** Takes a new world. Synchronous and linear in servers and tools; nothing is serialised here. */
  rebuild(world: CatalogWorld): void;
  viewAll(): View;
  /** Undefined = there is no such group. */
  viewOfGroup(slug: string): View | undefined;
  /** Undefined = there is no such server, or it is disabled. */
  viewOfServer(slug: string): View | undefined;
  /** The union of groups, for keys that are limited to some. Groups that are gone add nothing. */
  viewOfGroups(slugs: readonly string[]): View;
  /** Called after a rebuild with the keys of the views that changed, came or went; not when none did. Must not throw. Returns how to stop. */
  onChange(listener: (changed: readonly string[]) => void): () => void;
  /** What a path segment (already percent-decoded) names, by slug or by configured name; a group wins over a server. */
  pathOf(segment: string): PathTarget | undefined;
}

export interface CatalogParts {
  readonly kernel: Kernel;
  readonly limits: Pick<Limits, 'servers'>;
}

/** Everything derived from one world. */
interface Built {
  readonly shelves: ReadonlyMap<string, Shelf>;
  readonly groups: ReadonlyMap<string, GroupSpec>;
  readonly views: ReadonlyMap<string, View>;
  readonly paths: ReadonlyMap<string, PathTarget>;
}

export function createCatalog({ kernel, limits }: CatalogParts): Catalog {
  const unions = new CappedMap<string, View>('catalog.unions', limits.servers, 'drop-oldest', kernel.ceilings);
  let listeners: readonly ((changed: readonly string[]) => void)[] = []; // bounded by: the rooms that listen
  let owners: ReadonlyMap<string, GivenName> = new Map();
  let built: Built = { shelves: new Map(), groups: new Map(), views: new Map(), paths: new Map() };
  const ownerOf: OwnerOf = (exposed) => owners.get(exposed);

  function view(key: string, picks: readonly Picked[], before: View | undefined): View {
    const digest = digestOf(picks);
    return before?.digest === digest ? before : new ShelfView(key, digest, picks, ownerOf);
  }

  function rebuild(world: CatalogWorld): void {
    const before = built;
    owners = new Map(world.names.map((name) => [name.exposed, name]));
    const shelves = shelvesOf(world, before.shelves);
    const views = new Map<string, View>();
    const add = (key: string, picks: readonly Picked[]): void => {
      views.set(key, view(key, picks, before.views.get(key)));
    };
    add(
      'all',
      [...shelves.values()].map((shelf) => ({ shelf, allowed: undefined })),
    );
    for (const shelf of shelves.values()) add(`server:${shelf.server}`, [{ shelf, allowed: undefined }]);
    for (const group of world.groups) add(`group:${group.slug}`, picksOf([group], shelves));
    const groups = new Map(world.groups.map((group) => [group.slug, group]));
    built = { shelves, groups, views, paths: pathsOf(world) };
    const changed = [...changedKeys(before.views, views), ...rebuildUnions()];
    if (changed.length > 0) for (const listener of listeners) listener(changed);
  }

  function rebuildUnions(): string[] {
    const changed: string[] = [];
    for (const [key, before] of [...unions.entries()]) {
      const next = union(key, before);
      if (next === before) continue;
      unions.set(key, next);
      changed.push(key);
    }
    return changed;
  }

  function union(key: string, before: View | undefined): View {
    const slugs = key.slice(UNION.length).split(',');
    const groups = slugs.map((slug) => built.groups.get(slug)).filter((group) => group !== undefined);
    return view(key, picksOf(groups, built.shelves), before);
  }

  return {
    rebuild,
    viewAll: () => built.views.get('all') ?? view('all', [], undefined),
    viewOfGroup: (slug) => built.views.get(`group:${slug}`),
    viewOfServer: (slug) => built.views.get(`server:${slug}`),
    viewOfGroups(slugs) {
      const key = `${UNION}${[...new Set(slugs)].sort().join(',')}`;
      const known = unions.get(key);
      if (known) return known;
      const fresh = union(key, undefined);
      unions.set(key, fresh);
      return fresh;
    },
    onChange(listener) {
      listeners = [...listeners, listener];
      return () => {
        listeners = listeners.filter((other) => other !== listener);
      };
    },
    pathOf: (segment) => built.paths.get(segment),
  };
}
const UNION = 'groups:';

function shelvesOf(world: CatalogWorld, before: ReadonlyMap<string, Shelf>): ReadonlyMap<string, Shelf> {
  const listings = new Map(world.listings.map((listing) => [listing.server, listing]));
  const names = new Map<string, Map<string, string>>();
  for (const { exposed, server, native } of world.names) {
    const ofServer = names.get(server);
    if (ofServer) ofServer.set(native, exposed);
    else names.set(server, new Map([[native, exposed]]));
  }
  const shelves = new Map<string, Shelf>();
  for (const spec of world.servers) {
    if (!spec.enabled) continue;
    const ofServer = names.get(spec.slug);
    const exposedOf = (native: string): string | undefined => ofServer?.get(native);
    shelves.set(spec.slug, fillShelf(spec, listings.get(spec.slug), exposedOf, before.get(spec.slug)));
  }
  return shelves;
}

/** What groups show together: a server that one of them shows whole is shown whole. In configuration order. */
function picksOf(groups: readonly GroupSpec[], shelves: ReadonlyMap<string, Shelf>): Picked[] {
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

function changedKeys(before: ReadonlyMap<string, View>, now: ReadonlyMap<string, View>): string[] {
  const changed = [...now].filter(([key, view]) => before.get(key)?.digest !== view.digest).map(([key]) => key);
  const gone = [...before.keys()].filter((key) => !now.has(key));
  return [...changed, ...gone];
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
