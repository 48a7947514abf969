/**
 * The tools of one server as they stand in every view: enabled, named, with their exposed JSON.
 * Promises: a shelf whose digest is unchanged is the same object, so that what was serialised stays; exposed JSON is made at first use.
 */
import { createHash } from 'node:crypto';
import type { ListedTool, Listing, ServerSpec } from '../kernel/snapshot.ts';
import { SCANNED_BEFORE, scanMembers } from './_members.ts';
import type { Route } from './route.ts';

export class Item {
  readonly route: Route;
  readonly #tool: ListedTool;
  readonly #label: string | undefined;
  #json: Buffer | undefined;

  /** `label` goes before the title; undefined = none. */
  constructor(route: Route, tool: ListedTool, label: string | undefined) {
    this.route = route;
    this.#tool = tool;
    this.#label = label;
  }

  /** The tool's JSON with its exposed name in it. */
  get json(): Buffer {
    this.#json ??= exposedJson(this.#tool, this.route, this.#label);
    return this.#json;
  }
}

export interface Shelf {
  readonly server: string;
  readonly digest: string;
  readonly items: readonly Item[];
}

/** `exposedOf` gives a tool's name, undefined = not named yet (then it is not shown yet). */
export function fillShelf(
  spec: ServerSpec,
  listing: Listing | undefined,
  exposedOf: (native: string) => string | undefined,
  before: Shelf | undefined,
): Shelf {
  const shown: { tool: ListedTool; exposed: string }[] = [];
  const label = labelOf(spec);
  const hash = createHash('sha256').update(`${spec.slug}\n${label ?? ''}\n${listing?.digest ?? ''}`);
  for (const tool of listing?.tools ?? []) {
    const exposed = exposedOf(tool.native);
    if (exposed === undefined || spec.tools[tool.native]?.enabled === false) hash.update('-');
    else {
      shown.push({ tool, exposed });
      hash.update(`\n${exposed}`);
    }
  }
  const digest = hash.digest('hex');
  if (before?.digest === digest) return before;
  const items = shown.map(
    ({ tool, exposed }) =>
      new Item(
        {
          server: spec.slug,
          native: tool.native,
          nativeJson: Buffer.from(JSON.stringify(tool.native)),
          exposed,
          dropStructured: tool.dropStructured,
        },
        tool,
        label,
      ),
  );
  return { server: spec.slug, digest, items };
}

/** A name in letters that no exposed name can show stays visible in the titles of its tools (defaults.md, exposed names). */
function labelOf({ name }: ServerSpec): string | undefined {
  return /\P{ASCII}/u.test(name) ? name : undefined;
}

function exposedJson(tool: ListedTool, { exposed, native, nativeJson }: Route, label: string | undefined): Buffer {
  // Most servers write the name first, and most tools have no title anywhere: then nothing needs to be scanned.
  const head = `{"name":${nativeJson.toString()}`;
  if (label === undefined && exposed !== native && tool.json.startsWith(head) && !tool.json.includes('"title"')) {
    return Buffer.from(`{"name":"${exposed}","title":${nativeJson.toString()}${tool.json.slice(head.length)}`);
  }
  const bytes = Buffer.from(tool.json);
  const { members, fault } = scanMembers({ bytes, at: 0, end: bytes.length }, SCANNED_BEFORE);
  const name = members.find(({ key }) => key === 'name');
  // Only a damaged snapshot comes here: the tool stays callable, without its schema.
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

/** The bytes with each span replaced by its text. */
function edited(bytes: Buffer, edits: readonly { at: number; end: number; text: string }[]): Buffer {
  const parts: Buffer[] = []; // bounded by: edits
  let at = 0;
  for (const edit of edits.toSorted((a, b) => a.at - b.at)) {
    parts.push(bytes.subarray(at, edit.at), Buffer.from(edit.text));
    at = edit.end;
  }
  return Buffer.concat([...parts, bytes.subarray(at)]);
}
