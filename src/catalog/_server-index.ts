/**
 * What one server gives to every view: its tools and prompts, enabled and named, with their exposed JSON, and its resources as it listed them.
 * Promises: a shelf whose digest is unchanged is the same object, so that what was serialised stays; exposed JSON is made at first use.
 */
import { createHash } from 'node:crypto';
import type { Declared, GivenName, Listed, ListedTool, Listing, ServerSpec } from '../kernel/snapshot.ts';
import { paramHeadersOf } from '../protocol/era-2026/param-headers.ts';
import { edited } from './_json-list.ts';
import { SCANNED_BEFORE, scanMembers } from './_members.ts';
import { fillResourceShelf, type ResourceShelf } from './_resource-index.ts';
import type { Route } from './route.ts';

export class Item {
  readonly route: Route;
  readonly #listed: Listed;
  readonly #label: string | undefined;
  #json: Buffer | undefined;

  /** `label` goes before the title; undefined = none. */
  constructor(route: Route, listed: Listed, label: string | undefined) {
    this.route = route;
    this.#listed = listed;
    this.#label = label;
  }

  /** Characters of what the server listed. */
  get chars(): number {
    return this.#listed.json.length;
  }

  /** The object's JSON with its exposed name in it. */
  get json(): Buffer {
    this.#json ??= exposedJson(this.#listed, this.route, this.#label);
    return this.#json;
  }
}

/** One server's tools, or its prompts. */
export interface Shelf {
  readonly digest: string;
  readonly items: readonly Item[];
}

export interface ServerShelf {
  readonly server: string;
  readonly tools: Shelf;
  readonly prompts: Shelf;
  readonly resources: ResourceShelf;
  readonly declared: readonly Declared[];
}

/** A native name's exposed one; undefined = not named yet (then it is not shown yet). */
export type ExposedOf = (kind: GivenName['kind'], native: string) => string | undefined;

/** In steps of about a millisecond. */
export function* fillShelves(
  spec: ServerSpec,
  listing: Listing | undefined,
  exposedOf: ExposedOf,
  before: ServerShelf | undefined,
): Generator<void, ServerShelf> {
  const tools = yield* fillShelf(
    { spec, listed: listing?.tools ?? [], digest: listing?.digests.tool },
    (native) => (spec.tools[native]?.enabled === false ? undefined : exposedOf('tool', native)),
    before?.tools,
  );
  const prompts = yield* fillShelf(
    { spec, listed: listing?.prompts ?? [], digest: listing?.digests.prompt },
    (native) => exposedOf('prompt', native),
    before?.prompts,
  );
  const resources = fillResourceShelf(spec.slug, listing, exposedOf, before?.resources);
  return { server: spec.slug, tools, prompts, resources, declared: listing?.declared ?? [] };
}

interface Filling {
  readonly spec: ServerSpec;
  readonly listed: readonly (Listed & Partial<ListedTool>)[];
  readonly digest: string | undefined;
}

/** Rows of one step: about 1 ms. */
const STEP_ROWS = 500;

function* fillShelf(
  { spec, listed, digest: listDigest }: Filling,
  exposedOf: (native: string) => string | undefined,
  before: Shelf | undefined,
): Generator<void, Shelf> {
  const shown: { listed: Listed & Partial<ListedTool>; exposed: string }[] = []; // bounded by: serverTools
  const label = labelOf(spec);
  const hash = createHash('sha256').update(`${spec.slug}\n${label ?? ''}\n${listDigest ?? ''}`);
  for (const [at, one] of listed.entries()) {
    if (at % STEP_ROWS === STEP_ROWS - 1) yield;
    const exposed = exposedOf(one.native);
    if (exposed === undefined) hash.update('-');
    else {
      shown.push({ listed: one, exposed });
      hash.update(`\n${exposed}`);
    }
  }
  const digest = hash.digest('hex');
  if (before?.digest === digest) return before;
  const items: Item[] = []; // bounded by: serverTools
  for (const { listed: one, exposed } of shown) {
    items.push(new Item(routeOf(spec.slug, one, exposed), one, label));
    if (items.length % STEP_ROWS === 0) yield;
  }
  return { digest, items };
}

/** Declared headers are read when they are first asked for: to parse every schema at each rebuild would stall the loop. */
function routeOf(server: string, one: Listed & Partial<ListedTool>, exposed: string): Route {
  let paramHeaders: Route['paramHeaders'] | undefined;
  return {
    server,
    native: one.native,
    nativeJson: Buffer.from(JSON.stringify(one.native)),
    exposed,
    dropStructured: one.dropStructured ?? false,
    get paramHeaders() {
      paramHeaders ??= paramHeadersOf(one.json);
      return paramHeaders;
    },
  };
}

/** A name in letters that no exposed name can show stays visible in the titles of its tools and prompts (defaults.md, exposed names). */
function labelOf({ name }: ServerSpec): string | undefined {
  return /\P{ASCII}/u.test(name) ? name : undefined;
}

function exposedJson(tool: Listed, { exposed, native, nativeJson }: Route, label: string | undefined): Buffer {
  // Most servers write the name first, and most tools have no title anywhere: then nothing needs to be scanned.
  const head = `{"name":${nativeJson.toString()}`;
  if (label === undefined && exposed !== native && tool.json.startsWith(head) && !tool.json.includes('"title"')) {
    return Buffer.from(`{"name":"${exposed}","title":${nativeJson.toString()}${tool.json.slice(head.length)}`);
  }
  const bytes = Buffer.from(tool.json);
  const { members, fault } = scanMembers({ bytes, at: 0, end: bytes.length }, SCANNED_BEFORE);
  const name = members.find(({ key }) => key === 'name');
  // Only a damaged snapshot comes here: a tool stays callable, without its schema.
  if (fault !== undefined || !name) {
    return Buffer.from(JSON.stringify({ name: exposed, title: native, inputSchema: { type: 'object' } }));
  }
  const title = members.find(({ key }) => key === 'title');
  const wanted = label === undefined ? native : `${label}: ${tool.title}`;
  const isNew = title === undefined && (exposed !== native || label !== undefined);
  const edits = [{ ...name, text: `"${exposed}"${isNew ? `,"title":${JSON.stringify(wanted)}` : ''}` }];
  if (title && label !== undefined) edits.push({ ...title, text: JSON.stringify(wanted) });
  return edited(bytes, edits);
}
