/**
 * The resources and templates of one view: their lists, and the server of each URI.
 * Guarantees: immutable; each list is serialized once; an address belongs to the server that listed it first, even when
 * it no longer lists it; in the view of a single server every address is its own; a lookup costs a limited number of
 * steps (`_resource-owners.ts`).
 */
import { createHash } from 'node:crypto';
import type { TurnsRuntime } from '../runtime/take-turn.ts';
import { joinSteps } from './_json-list.ts';
import { ListJson } from './_list-json.ts';
import { type AddressedItem, type ResourceIndex, replaceAddress } from './_resource-index.ts';
import { type AssignedAddresses, ResourceOwners } from './_resource-owners.ts';
import type { FindOwner } from './_view-names.ts';
import { isHubUri, nativeUri } from './exposed-uri.ts';
import type { ResourceRoute } from './route.ts';

interface ShownItem extends AddressedItem {
  readonly server: string;
}

/** Finds the servers to which addresses are assigned, in or outside the view. */
export interface AddressLookup extends AssignedAddresses {
  readonly resource: FindOwner;
  readonly template: FindOwner;
}

interface Addresses {
  readonly resources: readonly ShownItem[];
  readonly templates: readonly ShownItem[];
  /** By exposed URI, then (if not taken) by native URI. */
  readonly resourceAt: ReadonlyMap<string, ShownItem>;
  readonly templateAt: ReadonlyMap<string, ShownItem>;
  readonly owners: ResourceOwners;
}

export class ViewResources {
  /** Changes exactly when one of the lists does. */
  readonly digest: string;
  readonly indexes: readonly ResourceIndex[];
  readonly #lookup: AddressLookup;
  readonly #isSingle: boolean;
  #addresses: Addresses | undefined;
  readonly #resourcesJson = new ListJson(() => jsonSteps(this.#resolve().resources, 'uri'));
  readonly #templatesJson = new ListJson(() => jsonSteps(this.#resolve().templates, 'uriTemplate'));

  constructor(digest: string, indexes: readonly ResourceIndex[], book: AddressLookup, isSingle: boolean) {
    this.digest = digest;
    this.indexes = indexes;
    this.#lookup = book;
    this.#isSingle = isSingle;
  }

  get resourceCount(): number {
    return this.indexes.reduce((sum, { resources }) => sum + resources.length, 0);
  }

  get templateCount(): number {
    return this.indexes.reduce((sum, { templates }) => sum + templates.length, 0);
  }

  resourcesJson(): Buffer {
    return this.#resourcesJson.text();
  }

  templatesJson(): Buffer {
    return this.#templatesJson.text();
  }

  /** Builds a long list over several turns; undefined = not needed. Never rejects. */
  prepare(list: 'resources' | 'templates', runtime: TurnsRuntime): Promise<void> | undefined {
    const json = list === 'resources' ? this.#resourcesJson : this.#templatesJson;
    let chars = 0;
    if (!json.isReady)
      for (const index of this.indexes) for (const { listed } of index[list]) chars += listed.json.length;
    return json.prepare(chars, runtime);
  }

  /**
   * Finds, in this order: a listed URI; a URI of the hub's scheme; an assigned URI that is no longer listed; the oldest
   * matching template; the only server with resources. Returns undefined when no server of the view serves the URI.
   */
  route(uri: string): ResourceRoute | undefined {
    const { resourceAt, owners } = this.#resolve();
    const listed = resourceAt.get(uri);
    if (listed) return itemRoute(listed);
    if (isHubUri(uri)) return this.#wrappedRoute(uri);
    const owner = this.#isSingle ? undefined : this.#lookup.resource(uri)?.server;
    if (owner !== undefined) return this.#canServe(owner) ? makeRoute(owner, uri, false) : undefined;
    const fitting = owners.findOwner(uri);
    if (fitting !== undefined) return makeRoute(fitting, uri, false);
    const able = this.indexes.filter(({ declares }) => declares);
    return able.length === 1 && able[0] ? makeRoute(able[0].server, uri, false) : undefined;
  }

  /** For completions: finds a template by its text, else a URI. */
  templateRoute(text: string): ResourceRoute | undefined {
    const listed = this.#resolve().templateAt.get(text);
    if (listed) return itemRoute(listed);
    const isAway = !this.#isSingle && this.#lookup.template(text) !== undefined && !isHubUri(text);
    return isAway ? undefined : this.route(text);
  }

  #wrappedRoute(uri: string): ResourceRoute | undefined {
    const inside = nativeUri(uri);
    const index = inside && this.indexes.find(({ server, declares }) => declares && server === inside.server);
    return index && makeRoute(index.server, inside.native, true);
  }

  #canServe(owner: string): boolean {
    return this.indexes.some(({ server, declares }) => declares && server === owner);
  }

  #resolve(): Addresses {
    this.#addresses ??= buildAddresses(this.indexes, this.#lookup, this.#isSingle);
    return this.#addresses;
  }
}

/** Returns the previous object when nothing has changed. `isSingle`: the view of one server. */
export function buildViewResources(
  indexes: readonly ResourceIndex[],
  { book, isSingle }: { readonly book: AddressLookup; readonly isSingle: boolean },
  before: ViewResources | undefined,
): ViewResources {
  if (before?.indexes.length === indexes.length && indexes.every((index, at) => before.indexes[at] === index))
    return before;
  const hash = createHash('sha256');
  for (const { server, digest } of indexes) if (digest !== '') hash.update(`${server}\n${digest}\n`);
  return new ViewResources(hash.digest('hex'), indexes, book, isSingle);
}

function buildAddresses(indexes: readonly ResourceIndex[], book: AddressLookup, isSingle: boolean): Addresses {
  const resources = shownItems(indexes, ({ resources: rows }) => rows, isSingle);
  const templates = shownItems(indexes, ({ templates: rows }) => rows, isSingle);
  const owners = new ResourceOwners(indexes, book);
  return { resources, templates, resourceAt: byAddress(resources), templateAt: byAddress(templates), owners };
}

function shownItems(
  indexes: readonly ResourceIndex[],
  rowsOf: (index: ResourceIndex) => readonly AddressedItem[],
  isSingle: boolean,
): ShownItem[] {
  return indexes.flatMap((index) =>
    rowsOf(index).map(({ listed, renamed }) => ({
      server: index.server,
      listed,
      renamed: isSingle && !isHubUri(listed.native) ? undefined : renamed,
    })),
  );
}

function byAddress(items: readonly ShownItem[]): ReadonlyMap<string, ShownItem> {
  return new Map(items.map((item) => [item.renamed ?? item.listed.native, item]));
}

/** Bytes of one step, about 1 ms. */
const STEP_BYTES = 256 * 1024;

function* jsonSteps(items: readonly ShownItem[], key: 'uri' | 'uriTemplate'): Generator<void, Buffer> {
  const texts: Buffer[] = []; // bounded by: items
  let stepBytes = 0;
  for (const { listed, renamed } of items) {
    const text = renamed === undefined ? Buffer.from(listed.json) : replaceAddress(listed, key, renamed);
    texts.push(text);
    stepBytes += text.length;
    if (stepBytes < STEP_BYTES) continue;
    stepBytes = 0;
    yield;
  }
  return yield* joinSteps(texts);
}

function itemRoute({ server, listed, renamed }: ShownItem): ResourceRoute {
  return makeRoute(server, listed.native, renamed !== undefined);
}

function makeRoute(server: string, native: string, renamed: boolean): ResourceRoute {
  return { server, native, nativeJson: Buffer.from(JSON.stringify(native)), renamed };
}
