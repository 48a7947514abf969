/**
 * The resources and templates of one view: their lists, and which server a URI leads to.
 * Promises: immutable; each list is serialised once; a resource keeps its server's URI unless an earlier server of the view (in configuration
 * order) lists the same, or the URI claims to be the hub's own: then it has an `mcphub://<slug>/…` (`exposed-uri.ts`); looking a URI up costs a
 * bounded number of steps, whatever templates there are.
 */
import { createHash } from 'node:crypto';
import type { Listed } from '../kernel/snapshot.ts';
import { joinedJson } from './_json-list.ts';
import { type ResourceShelf, withAddress } from './_resource-shelf.ts';
import { beginsLike, costOf, fitsTemplate } from './_uri-template.ts';
import { exposedTemplate, exposedUri, isOurs, nativeUri } from './exposed-uri.ts';
import type { ResourceRoute } from './route.ts';

/** A longer URI is compared with no template. */
const URI_LENGTH = 4096;
/** Characters looked at for one URI in all templates together: some milliseconds at worst. */
const STEPS = 1_000_000;

interface Shown {
  readonly server: string;
  readonly listed: Listed;
  /** Undefined = its own. */
  readonly renamed: string | undefined;
}

interface Addresses {
  readonly resources: readonly Shown[];
  readonly templates: readonly Shown[];
  /** By exposed URI, then (for those that are not taken) by native URI. */
  readonly resourceAt: ReadonlyMap<string, Shown>;
  readonly templateAt: ReadonlyMap<string, Shown>;
}

export class ResourcesOfView {
  /** Changes exactly when one of the lists does. */
  readonly digest: string;
  readonly shelves: readonly ResourceShelf[];
  #addresses: Addresses | undefined;
  #resourcesJson: Buffer | undefined;
  #templatesJson: Buffer | undefined;

  constructor(digest: string, shelves: readonly ResourceShelf[]) {
    this.digest = digest;
    this.shelves = shelves;
  }

  get resourceCount(): number {
    return this.shelves.reduce((sum, { resources }) => sum + resources.length, 0);
  }

  get templateCount(): number {
    return this.shelves.reduce((sum, { templates }) => sum + templates.length, 0);
  }

  resourcesJson(): Buffer {
    this.#resourcesJson ??= jsonOf(this.#known().resources, 'uri');
    return this.#resourcesJson;
  }

  templatesJson(): Buffer {
    this.#templatesJson ??= jsonOf(this.#known().templates, 'uriTemplate');
    return this.#templatesJson;
  }

  /**
   * The exact URI; one of ours; what fits a template (the one that says most); the only server that has resources at all. Undefined = nobody
   * here can be asked for it.
   */
  route(uri: string): ResourceRoute | undefined {
    const listed = this.#known().resourceAt.get(uri);
    if (listed) return routeTo(listed);
    if (isOurs(uri)) return this.#unwrapped(uri);
    const fitting = this.#fitting(uri);
    if (fitting !== undefined) return routeOf(fitting, uri, false);
    const able = this.shelves.filter(({ declares }) => declares);
    return able.length === 1 && able[0] ? routeOf(able[0].server, uri, false) : undefined;
  }

  /** For completions: a template's text, else a URI. */
  templateRoute(text: string): ResourceRoute | undefined {
    const listed = this.#known().templateAt.get(text);
    return listed ? routeTo(listed) : this.route(text);
  }

  #unwrapped(uri: string): ResourceRoute | undefined {
    const inside = nativeUri(uri);
    const shelf = inside && this.shelves.find(({ server, declares }) => declares && server === inside.server);
    return shelf && routeOf(shelf.server, inside.native, true);
  }

  #fitting(uri: string): string | undefined {
    if (uri.length > URI_LENGTH) return undefined;
    let best: { readonly server: string; readonly fixed: number } | undefined;
    let steps = 0;
    for (const { server, ready } of this.shelves) {
      for (const template of ready) {
        if ((best && template.ready.fixed <= best.fixed) || !beginsLike(template.ready, uri)) continue;
        steps += costOf(template.ready, uri);
        if (steps > STEPS) return best?.server;
        if (fitsTemplate(template.ready, uri)) best = { server, fixed: template.ready.fixed };
      }
    }
    return best?.server;
  }

  #known(): Addresses {
    this.#addresses ??= addressesOf(this.shelves);
    return this.#addresses;
  }
}

/** The same object when nothing has changed, also not who could be asked. */
export function resourcesOfView(
  shelves: readonly ResourceShelf[],
  before: ResourcesOfView | undefined,
): ResourcesOfView {
  if (before?.shelves.length === shelves.length && shelves.every((shelf, at) => before.shelves[at] === shelf))
    return before;
  const hash = createHash('sha256');
  for (const { server, digest } of shelves) if (digest !== '') hash.update(`${server}\n${digest}\n`);
  return new ResourcesOfView(hash.digest('hex'), shelves);
}

function addressesOf(shelves: readonly ResourceShelf[]): Addresses {
  const resources = shown(shelves, ({ resources: listed }) => listed, exposedUri);
  const templates = shown(shelves, ({ templates: listed }) => listed, exposedTemplate);
  return { resources, templates, resourceAt: byAddress(resources), templateAt: byAddress(templates) };
}

function shown(
  shelves: readonly ResourceShelf[],
  listedOf: (shelf: ResourceShelf) => readonly Listed[],
  wrapped: (server: string, native: string) => string,
): Shown[] {
  const taken = new Set<string>();
  return shelves.flatMap((shelf) =>
    listedOf(shelf).map((listed) => {
      const { server } = shelf;
      const isTaken = taken.has(listed.native) || isOurs(listed.native);
      taken.add(listed.native);
      return { server, listed, renamed: isTaken ? wrapped(server, listed.native) : undefined };
    }),
  );
}

function byAddress(items: readonly Shown[]): ReadonlyMap<string, Shown> {
  return new Map(items.map((item) => [item.renamed ?? item.listed.native, item]));
}

function jsonOf(items: readonly Shown[], key: 'uri' | 'uriTemplate'): Buffer {
  return joinedJson(
    items.map(({ listed, renamed }) =>
      renamed === undefined ? Buffer.from(listed.json) : withAddress(listed, key, renamed),
    ),
  );
}

function routeTo({ server, listed, renamed }: Shown): ResourceRoute {
  return routeOf(server, listed.native, renamed !== undefined);
}

function routeOf(server: string, native: string, renamed: boolean): ResourceRoute {
  return { server, native, nativeJson: Buffer.from(JSON.stringify(native)), renamed };
}
