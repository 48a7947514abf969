/**
 * Index of one server, shared by all views: its enabled tools and its prompts with exposed names and JSON, and its
 * resources.
 * Guarantees: an index with an unchanged digest is the same object, so that serialized text is reused; exposed JSON is
 * built at first use.
 */
import { createHash } from 'node:crypto';
import type { Declared, GivenName, Listed, ListedTool, Listing, ServerSpec } from '../model/snapshot.ts';
import { paramHeadersOf } from '../protocol/era-2026/param-headers.ts';
import { applyEdits } from './_json-list.ts';
import { RESCAN_LIMITS, scanMembers } from './_members.ts';
import { buildResourceIndex, type ResourceIndex } from './_resource-index.ts';
import type { Route } from './route.ts';

export class Item {
  readonly route: Route;
  readonly #listed: Listed;
  readonly #label: string | undefined;
  #json: Buffer | undefined;

  /** `label` precedes the title; undefined = none. */
  constructor(route: Route, listed: Listed, label: string | undefined) {
    this.route = route;
    this.#listed = listed;
    this.#label = label;
  }

  /** Number of characters of the listed JSON. */
  get chars(): number {
    return this.#listed.json.length;
  }

  /** JSON of the item with its exposed name. */
  get json(): Buffer {
    this.#json ??= exposedJson(this.#listed, this.route, this.#label);
    return this.#json;
  }
}

/** The tools or the prompts of one server. */
export interface ItemIndex {
  readonly digest: string;
  readonly items: readonly Item[];
}

export interface ServerIndex {
  readonly server: string;
  readonly tools: ItemIndex;
  readonly prompts: ItemIndex;
  readonly resources: ResourceIndex;
  readonly declared: readonly Declared[];
}

/** Returns the exposed name of a native name; undefined = not assigned yet, so the item is not shown. */
export type FindExposedName = (kind: GivenName['kind'], native: string) => string | undefined;

/** Builds the index in steps of about 1 ms. */
export function* buildServerIndex(
  spec: ServerSpec,
  listing: Listing | undefined,
  findExposed: FindExposedName,
  before: ServerIndex | undefined,
): Generator<void, ServerIndex> {
  const tools = yield* buildItemIndex(
    { spec, listed: listing?.tools ?? [], digest: listing?.digests.tool },
    (native) => (spec.tools[native]?.enabled === false ? undefined : findExposed('tool', native)),
    before?.tools,
  );
  const prompts = yield* buildItemIndex(
    { spec, listed: listing?.prompts ?? [], digest: listing?.digests.prompt },
    (native) => findExposed('prompt', native),
    before?.prompts,
  );
  const resources = buildResourceIndex(spec.slug, listing, findExposed, before?.resources);
  return { server: spec.slug, tools, prompts, resources, declared: listing?.declared ?? [] };
}

interface ItemIndexInput {
  readonly spec: ServerSpec;
  readonly listed: readonly (Listed & Partial<ListedTool>)[];
  readonly digest: string | undefined;
}

/** Rows of one step, about 1 ms. */
const STEP_ROWS = 500;

function* buildItemIndex(
  { spec, listed, digest: listDigest }: ItemIndexInput,
  findExposed: (native: string) => string | undefined,
  before: ItemIndex | undefined,
): Generator<void, ItemIndex> {
  const shown: { listed: Listed & Partial<ListedTool>; exposed: string }[] = []; // bounded by: serverTools
  const label = titleLabel(spec);
  const hash = createHash('sha256').update(`${spec.slug}\n${label ?? ''}\n${listDigest ?? ''}`);
  for (const [at, one] of listed.entries()) {
    if (at % STEP_ROWS === STEP_ROWS - 1) yield;
    const exposed = findExposed(one.native);
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
    items.push(new Item(makeRoute(spec.slug, one, exposed), one, label));
    if (items.length % STEP_ROWS === 0) yield;
  }
  return { digest, items };
}

/** Declared headers are parsed at first use: parsing every schema at each rebuild would block the event loop. */
function makeRoute(server: string, one: Listed & Partial<ListedTool>, exposed: string): Route {
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

/** Returns the server name if it has characters that exposed names cannot contain: it is shown in titles instead. */
function titleLabel({ name }: ServerSpec): string | undefined {
  return /\P{ASCII}/u.test(name) ? name : undefined;
}

function exposedJson(tool: Listed, { exposed, native, nativeJson }: Route, label: string | undefined): Buffer {
  // Most servers write the name first, and most tools have no title: then no scan is needed.
  const head = `{"name":${nativeJson.toString()}`;
  if (label === undefined && exposed !== native && tool.json.startsWith(head) && !tool.json.includes('"title"')) {
    return Buffer.from(`{"name":"${exposed}","title":${nativeJson.toString()}${tool.json.slice(head.length)}`);
  }
  const bytes = Buffer.from(tool.json);
  const { members, fault } = scanMembers({ bytes, at: 0, end: bytes.length }, RESCAN_LIMITS);
  const name = members.find(({ key }) => key === 'name');
  // Only with a damaged snapshot: the tool stays callable, without its schema.
  if (fault !== undefined || !name) {
    return Buffer.from(JSON.stringify({ name: exposed, title: native, inputSchema: { type: 'object' } }));
  }
  const title = members.find(({ key }) => key === 'title');
  const wanted = label === undefined ? native : `${label}: ${tool.title}`;
  const isNew = title === undefined && (exposed !== native || label !== undefined);
  const edits = [{ ...name, text: `"${exposed}"${isNew ? `,"title":${JSON.stringify(wanted)}` : ''}` }];
  if (title && label !== undefined) edits.push({ ...title, text: JSON.stringify(wanted) });
  return applyEdits(bytes, edits);
}
