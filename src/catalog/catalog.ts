/**
 * Views of everything that each group may call. Rebuilt from the snapshot in the background and replaced as one
 * reference; never a live fan-out: a server that is down keeps its last known lists. Names come from `names.ts`,
 * listings from `listing.ts`.
 * Guarantees: views are immutable and available synchronously; an unchanged view is the same object with the same
 * bytes; listeners are called with exactly the views and lists that changed.
 */
import type { Limits } from '../config/limits.ts';
import type { GroupSpec, ServerSpec, Snapshot } from '../model/snapshot.ts';
import { CappedMap } from '../runtime/capped.ts';
import type { Runtime } from '../runtime/runtime.ts';
import { atOnce } from '../runtime/take-turn.ts';
import { buildView, type IndexedView, SERVER_VIEW_PREFIX, type Selection } from './_indexed-view.ts';
import { type NameLookup, nameLookup, nameOwners, STEP_ROWS } from './_name-owners.ts';
import { buildServerIndex, type FindExposedName, type ServerIndex } from './_server-index.ts';
import type { ListKind, View } from './view.ts';

/** The part of a snapshot from which the catalog is built. */
export type CatalogInput = Pick<Snapshot, 'servers' | 'groups' | 'listings' | 'names'>;

export interface PathTarget {
  readonly kind: 'group' | 'server';
  readonly slug: string;
}

/** The changed lists of a view; all lists when it was added or removed. */
export interface ViewChange {
  readonly view: string;
  readonly kinds: readonly ListKind[];
}

export interface CatalogParts {
  readonly runtime: Runtime;
  readonly limits: Pick<Limits, 'servers'>;
}

/** Everything derived from one snapshot. */
interface CatalogState {
  readonly indexes: ReadonlyMap<string, ServerIndex>;
  readonly groups: ReadonlyMap<string, GroupSpec>;
  readonly views: ReadonlyMap<string, IndexedView>;
  readonly paths: ReadonlyMap<string, PathTarget>;
  /** Servers whose lists are in the catalog. */
  readonly listed: ReadonlySet<string>;
}

export class Catalog {
  readonly #unions: CappedMap<string, IndexedView>;
  #listeners: readonly ((changed: readonly ViewChange[]) => void)[] = []; // bounded by: the modules that listen
  #owners = atOnce(nameOwners([]));
  #built: CatalogState = {
    indexes: new Map(),
    groups: new Map(),
    views: new Map(),
    paths: new Map(),
    listed: new Set(),
  };
  readonly #rebuiltListeners = new Set<() => void>(); // bounded by: calls that wait for a first list
  readonly #findOwner: NameLookup;

  constructor({ limits, runtime }: CatalogParts) {
    this.#unions = new CappedMap('catalog.unions', () => limits.servers, 'drop-oldest', runtime.ceilings);
    this.#findOwner = nameLookup(() => this.#owners);
  }

  /** Applies a new snapshot. Synchronous and linear in servers and tools; nothing is serialised here. */
  rebuild(input: CatalogInput): void {
    atOnce(this.rebuildSteps(input))();
  }

  /**
   * Like `rebuild`, in steps of about 1 ms. Returns a function that activates the new catalog; call it in the same
   * turn.
   */
  *rebuildSteps(input: CatalogInput): Generator<void, () => void> {
    const before = this.#built;
    const nextOwners = yield* nameOwners(input.names);
    const indexes = yield* buildIndexes(input, before.indexes);
    const views = yield* this.#buildViews(input.groups, indexes, before);
    const groups = new Map(input.groups.map((group) => [group.slug, group]));
    const listed = new Set(input.listings.map(({ server }) => server));
    const next: CatalogState = { indexes, groups, views, paths: buildPaths(input), listed };
    const warmed = yield* this.#buildUnions(next);
    return () => {
      this.#owners = nextOwners;
      this.#built = next;
      const changed = [...viewChanges(before.views, views), ...this.#updateUnions(warmed)];
      if (changed.length > 0) for (const listener of this.#listeners) listener(changed);
      for (const listener of [...this.#rebuiltListeners]) listener();
    };
  }

  viewAll(): View {
    return this.#built.views.get('all') ?? this.#view('all', [], undefined);
  }

  /** Undefined = the group does not exist. */
  viewOfGroup(slug: string): View | undefined {
    return this.#built.views.get(`group:${slug}`);
  }

  /** Undefined = the server does not exist, or is disabled. */
  viewOfServer(slug: string): View | undefined {
    return this.#built.views.get(`${SERVER_VIEW_PREFIX}${slug}`);
  }

  /** The union of groups, for keys limited to several groups. Unknown groups add nothing. */
  viewOfGroups(slugs: readonly string[]): View {
    const key = `${UNION_PREFIX}${[...new Set(slugs)].sort().join(',')}`;
    const known = this.#unions.get(key);
    if (known) return known;
    const fresh = this.#union(key, undefined, this.#built);
    this.#unions.set(key, fresh);
    return fresh;
  }

  /**
   * Calls `listener` after a rebuild with the changed, added and removed views, if any. It must not throw. Returns a
   * function that unsubscribes.
   */
  onChange(listener: (changed: readonly ViewChange[]) => void): () => void {
    this.#listeners = [...this.#listeners, listener];
    return () => {
      this.#listeners = this.#listeners.filter((other) => other !== listener);
    };
  }

  /** Returns whether the lists of a server are in the catalog, even if empty. */
  isListed(slug: string): boolean {
    return this.#built.listed.has(slug);
  }

  /** Calls `listener` after each rebuild. It must not throw. Returns a function that unsubscribes. */
  onRebuilt(listener: () => void): () => void {
    this.#rebuiltListeners.add(listener);
    return () => this.#rebuiltListeners.delete(listener);
  }

  /**
   * Returns the target of a path segment (percent-decoded), by slug or by configured name; groups take precedence over
   * servers.
   */
  resolvePath(segment: string): PathTarget | undefined {
    return this.#built.paths.get(segment);
  }

  #view(key: string, selections: readonly Selection[], before: IndexedView | undefined): IndexedView {
    return buildView(key, selections, this.#findOwner, before);
  }

  /** Builds the views of all servers together, of each server, and of each group. */
  *#buildViews(
    groups: readonly GroupSpec[],
    indexes: ReadonlyMap<string, ServerIndex>,
    before: CatalogState,
  ): Generator<void, Map<string, IndexedView>> {
    const views = new Map<string, IndexedView>(); // bounded by: servers and groups of the configuration
    for (const [key, shown] of shownIn(groups, indexes)) {
      const view = this.#view(key, shown, before.views.get(key));
      yield* view.warm(before.views.get(key));
      views.set(key, view);
    }
    return views;
  }

  /** Builds the unions that were requested before. */
  *#buildUnions(next: CatalogState): Generator<void, Map<string, IndexedView>> {
    const built = new Map<string, IndexedView>(); // bounded by: catalog.unions
    for (const [key, before] of [...this.#unions.entries()]) {
      const view = this.#union(key, before, next);
      yield* view.warm(before);
      built.set(key, view);
    }
    return built;
  }

  /** Replaces the unions; builds here those that were requested meanwhile. */
  #updateUnions(warmed: ReadonlyMap<string, IndexedView>): ViewChange[] {
    const changed: ViewChange[] = []; // bounded by: catalog.unions
    for (const [key, before] of [...this.#unions.entries()]) {
      const next = warmed.get(key) ?? this.#union(key, before, this.#built);
      if (next === before) continue;
      this.#unions.set(key, next);
      const kinds = changedKinds(before, next);
      if (kinds.length > 0) changed.push({ view: key, kinds });
    }
    return changed;
  }

  #union(key: string, before: IndexedView | undefined, { groups, indexes }: CatalogState): IndexedView {
    const slugs = key.slice(UNION_PREFIX.length).split(',');
    const shown = slugs.map((slug) => groups.get(slug)).filter((group) => group !== undefined);
    return this.#view(key, selectServers(shown, indexes), before);
  }
}

const UNION_PREFIX = 'groups:';

function* buildIndexes(
  input: CatalogInput,
  before: ReadonlyMap<string, ServerIndex>,
): Generator<void, ReadonlyMap<string, ServerIndex>> {
  const listings = new Map(input.listings.map((listing) => [listing.server, listing]));
  const names = new Map<string, Map<string, string>>();
  for (const [at, { kind, exposed, server, native }] of input.names.entries()) {
    if (at % STEP_ROWS === STEP_ROWS - 1) yield;
    const key = `${kind} ${server}`;
    const ofServer = names.get(key);
    if (ofServer) ofServer.set(native, exposed);
    else names.set(key, new Map([[native, exposed]]));
  }
  const indexes = new Map<string, ServerIndex>();
  for (const spec of input.servers) {
    if (!spec.enabled) continue;
    const [tool, prompt, resource, template] = KINDS_OF_ITEMS.map((kind) => names.get(`${kind} ${spec.slug}`));
    const exposed = { tool, prompt, resource, template };
    const findExposed: FindExposedName = (kind, native) => exposed[kind]?.get(native);
    indexes.set(spec.slug, yield* buildServerIndex(spec, listings.get(spec.slug), findExposed, before.get(spec.slug)));
  }
  return indexes;
}

const KINDS_OF_ITEMS = ['tool', 'prompt', 'resource', 'template'] as const;

/**
 * Returns the servers that groups show together, in configuration order. A server that one group shows whole is shown
 * whole.
 */
function selectServers(groups: readonly GroupSpec[], indexes: ReadonlyMap<string, ServerIndex>): Selection[] {
  const selections: Selection[] = [];
  const withSlugs = groups.map((group) => ({
    tools: group.tools,
    slugs: group.servers === '*' ? undefined : new Set(group.servers),
  }));
  for (const index of indexes.values()) {
    const holders = withSlugs.filter(({ slugs }) => slugs === undefined || slugs.has(index.server));
    if (holders.length === 0) continue;
    const lists = holders.map(({ tools }) => (Object.hasOwn(tools, index.server) ? tools[index.server] : undefined));
    const isWhole = lists.some((list) => list === undefined);
    selections.push({ index, allowed: isWhole ? undefined : new Set(lists.flatMap((list) => list ?? [])) });
  }
  return selections;
}

/** The views of all servers together, of each server, and of each group: key and shown servers, computed one by one. */
function* shownIn(
  groups: readonly GroupSpec[],
  indexes: ReadonlyMap<string, ServerIndex>,
): Generator<readonly [key: string, shown: readonly Selection[]]> {
  const all = [...indexes.values()].map((index) => ({ index, allowed: undefined }));
  yield ['all', all];
  for (const selection of all) yield [`${SERVER_VIEW_PREFIX}${selection.index.server}`, [selection]];
  for (const group of groups) yield [`group:${group.slug}`, selectServers([group], indexes)];
}

const KINDS: readonly ListKind[] = ['tools', 'prompts', 'resources'];

function changedKinds(before: View | undefined, now: View): readonly ListKind[] {
  return KINDS.filter((kind) => before?.digests[kind] !== now.digests[kind]);
}

function viewChanges(before: ReadonlyMap<string, View>, now: ReadonlyMap<string, View>): ViewChange[] {
  const changed = [...now]
    .map(([key, view]) => ({ view: key, kinds: changedKinds(before.get(key), view) }))
    .filter(({ kinds }) => kinds.length > 0);
  const removed = [...before.keys()].filter((key) => !now.has(key));
  return [...changed, ...removed.map((key) => ({ view: key, kinds: KINDS }))];
}

/** Later entries win, so precedence rises: server name, server slug, group name, group slug. */
function buildPaths({ servers, groups }: CatalogInput): ReadonlyMap<string, PathTarget> {
  const enabled: readonly ServerSpec[] = servers.filter((server) => server.enabled);
  const paths = new Map<string, PathTarget>();
  for (const { name, slug } of enabled.toReversed()) paths.set(name, { kind: 'server', slug });
  for (const { slug } of enabled) paths.set(slug, { kind: 'server', slug });
  for (const { name, slug } of groups.toReversed()) paths.set(name, { kind: 'group', slug });
  for (const { slug } of groups) paths.set(slug, { kind: 'group', slug });
  return paths;
}
