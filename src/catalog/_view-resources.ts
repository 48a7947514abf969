/**
 * The resources and templates of one view: their lists, and which server a URI leads to.
 * Promises: immutable; each list is serialised once; an address leads to the server that listed it first, whatever is listed later and also
 * when that server lists it no more; in the view of a single server every address is that server's own; looking a URI up costs a bounded number
 * of steps, whatever templates there are (`_resource-owners.ts`).
 */
import { createHash } from 'node:crypto';
import type { TurnsKernel } from '../kernel/take-turn.ts';
import { joinedSteps } from './_json-list.ts';
import { ListJson } from './_list-json.ts';
import { type Addressed, type ResourceShelf, withAddress } from './_resource-index.ts';
import { type GivenAddresses, ResourceOwners } from './_resource-owners.ts';
import type { OwnerOf } from './_view-names.ts';
import { isOurs, nativeUri } from './exposed-uri.ts';
import type { ResourceRoute } from './route.ts';

interface Shown extends Addressed {
  readonly server: string;
}

/** Who was given which address, in or outside the view. */
export interface AddressBook extends GivenAddresses {
  readonly resource: OwnerOf;
  readonly template: OwnerOf;
}

interface Addresses {
  readonly resources: readonly Shown[];
  readonly templates: readonly Shown[];
  /** By exposed URI, then (for those that are not taken) by native URI. */
  readonly resourceAt: ReadonlyMap<string, Shown>;
  readonly templateAt: ReadonlyMap<string, Shown>;
  readonly owners: ResourceOwners;
}

export class ResourcesOfView {
  /** Changes exactly when one of the lists does. */
  readonly digest: string;
  readonly shelves: readonly ResourceShelf[];
  readonly #book: AddressBook;
  readonly #isSingle: boolean;
  #addresses: Addresses | undefined;
  readonly #resourcesJson = new ListJson(() => jsonSteps(this.#known().resources, 'uri'));
  readonly #templatesJson = new ListJson(() => jsonSteps(this.#known().templates, 'uriTemplate'));

  constructor(digest: string, shelves: readonly ResourceShelf[], book: AddressBook, isSingle: boolean) {
    this.digest = digest;
    this.shelves = shelves;
    this.#book = book;
    this.#isSingle = isSingle;
  }

  get resourceCount(): number {
    return this.shelves.reduce((sum, { resources }) => sum + resources.length, 0);
  }

  get templateCount(): number {
    return this.shelves.reduce((sum, { templates }) => sum + templates.length, 0);
  }

  resourcesJson(): Buffer {
    return this.#resourcesJson.text();
  }

  templatesJson(): Buffer {
    return this.#templatesJson.text();
  }

  /** Settles when that list costs nothing; undefined = it costs no long turn now. */
  prepare(list: 'resources' | 'templates', kernel: TurnsKernel): Promise<void> | undefined {
    const json = list === 'resources' ? this.#resourcesJson : this.#templatesJson;
    let chars = 0;
    if (!json.isReady)
      for (const shelf of this.shelves) for (const { listed } of shelf[list]) chars += listed.json.length;
    return json.prepare(chars, kernel);
  }

  /**
   * The exact URI; one of ours; one that a server was given and lists no more; what fits a template (the oldest); the only server that has
   * resources at all. Undefined = no server of the view serves it.
   */
  route(uri: string): ResourceRoute | undefined {
    const { resourceAt, owners } = this.#known();
    const listed = resourceAt.get(uri);
    if (listed) return routeTo(listed);
    if (isOurs(uri)) return this.#unwrapped(uri);
    const owner = this.#isSingle ? undefined : this.#book.resource(uri)?.server;
    if (owner !== undefined) return this.#isAble(owner) ? routeOf(owner, uri, false) : undefined;
    const fitting = owners.ownerOf(uri);
    if (fitting !== undefined) return routeOf(fitting, uri, false);
    const able = this.shelves.filter(({ declares }) => declares);
    return able.length === 1 && able[0] ? routeOf(able[0].server, uri, false) : undefined;
  }

  /** For completions: a template's text, else a URI. */
  templateRoute(text: string): ResourceRoute | undefined {
    const listed = this.#known().templateAt.get(text);
    if (listed) return routeTo(listed);
    const isAway = !this.#isSingle && this.#book.template(text) !== undefined && !isOurs(text);
    return isAway ? undefined : this.route(text);
  }

  #unwrapped(uri: string): ResourceRoute | undefined {
    const inside = nativeUri(uri);
    const shelf = inside && this.shelves.find(({ server, declares }) => declares && server === inside.server);
    return shelf && routeOf(shelf.server, inside.native, true);
  }

  #isAble(owner: string): boolean {
    return this.shelves.some(({ server, declares }) => declares && server === owner);
  }

  #known(): Addresses {
    this.#addresses ??= addressesOf(this.shelves, this.#book, this.#isSingle);
    return this.#addresses;
  }
}

/** The same object when nothing has changed, also not who could be asked. `isSingle` = the view of one server. */
export function resourcesOfView(
  shelves: readonly ResourceShelf[],
  { book, isSingle }: { readonly book: AddressBook; readonly isSingle: boolean },
  before: ResourcesOfView | undefined,
): ResourcesOfView {
  if (before?.shelves.length === shelves.length && shelves.every((shelf, at) => before.shelves[at] === shelf))
    return before;
  const hash = createHash('sha256');
  for (const { server, digest } of shelves) if (digest !== '') hash.update(`${server}\n${digest}\n`);
  return new ResourcesOfView(hash.digest('hex'), shelves, book, isSingle);
}

function addressesOf(shelves: readonly ResourceShelf[], book: AddressBook, isSingle: boolean): Addresses {
  const resources = shown(shelves, ({ resources: rows }) => rows, isSingle);
  const templates = shown(shelves, ({ templates: rows }) => rows, isSingle);
  const owners = new ResourceOwners(shelves, book);
  return { resources, templates, resourceAt: byAddress(resources), templateAt: byAddress(templates), owners };
}

function shown(
  shelves: readonly ResourceShelf[],
  rowsOf: (shelf: ResourceShelf) => readonly Addressed[],
  isSingle: boolean,
): Shown[] {
  return shelves.flatMap((shelf) =>
    rowsOf(shelf).map(({ listed, renamed }) => ({
      server: shelf.server,
      listed,
      renamed: isSingle && !isOurs(listed.native) ? undefined : renamed,
    })),
  );
}

function byAddress(items: readonly Shown[]): ReadonlyMap<string, Shown> {
  return new Map(items.map((item) => [item.renamed ?? item.listed.native, item]));
}

/** Of one step: about 1 ms. */
const STEP_BYTES = 256 * 1024;

function* jsonSteps(items: readonly Shown[], key: 'uri' | 'uriTemplate'): Generator<void, Buffer> {
  const texts: Buffer[] = []; // bounded by: items
  let stepBytes = 0;
  for (const { listed, renamed } of items) {
    const text = renamed === undefined ? Buffer.from(listed.json) : withAddress(listed, key, renamed);
    texts.push(text);
    stepBytes += text.length;
    if (stepBytes < STEP_BYTES) continue;
    stepBytes = 0;
    yield;
  }
  return yield* joinedSteps(texts);
}

function routeTo({ server, listed, renamed }: Shown): ResourceRoute {
  return routeOf(server, listed.native, renamed !== undefined);
}

function routeOf(server: string, native: string, renamed: boolean): ResourceRoute {
  return { server, native, nativeJson: Buffer.from(JSON.stringify(native)), renamed };
}
