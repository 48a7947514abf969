/**
 * What one group, one server or everybody sees: where each name and URI leads, and the bytes of its four lists.
 * Promises: immutable; each list is serialised once, and stays the same bytes from view to view while nothing in it has changed.
 * Does not: know who is calling; `auth/` decides which view that is.
 */
import type { Declared } from '../kernel/snapshot.ts';
import type { TurnsKernel } from '../kernel/take-turn.ts';
import type { ServerShelf } from './_server-index.ts';
import { type NamesOfView, namesOfView, type OwnerOf } from './_view-names.ts';
import { type AddressBook, type ResourcesOfView, resourcesOfView } from './_view-resources.ts';
import type { ResourceRoute, Route } from './route.ts';

export type { Route };

/** What clients are told of when it changes; templates are resources there. */
export type ListKind = 'tools' | 'prompts' | 'resources';
/** The four lists. */
export type ListNoun = ListKind | 'templates';

export interface View {
  /** `all`, `group:<slug>`, `server:<slug>` or `groups:<slug>,<slug>…`. */
  readonly key: string;
  /** Slugs of the enabled servers in it, in configuration order, also of those that have no tools (yet). */
  readonly servers: readonly string[];
  readonly toolCount: number;
  readonly promptCount: number;
  readonly resourceCount: number;
  readonly templateCount: number;
  /** Each changes exactly when that list does. */
  readonly digests: Readonly<Record<ListKind, string>>;
  /** To a tool: by exact exposed name, then by an unambiguous other spelling (`docs.find`, `docs-find`, the native name). */
  route(name: string): Route | undefined;
  /** To a prompt, by the same rules. */
  promptRoute(name: string): Route | undefined;
  /** The exposed name of a tool, or prompt, of this view that is closest to a name that leads nowhere; undefined = none is close. */
  closestTool(name: string): string | undefined;
  closestPrompt(name: string): string | undefined;
  /** To the server that has this resource, or can say whether it has. */
  resourceRoute(uri: string): ResourceRoute | undefined;
  /** The same for a template's text, or a URI. */
  templateRoute(text: string): ResourceRoute | undefined;
  /** Whether a server in it declared this of itself. */
  declares(server: string, what: Declared): boolean;
  /** JSON array texts with exposed names; the same buffers every time. Not to be written to. */
  toolsJson(): Buffer;
  promptsJson(): Buffer;
  resourcesJson(): Buffer;
  templatesJson(): Buffer;
  /** Makes the text of a long list over several turns of the event loop. Undefined = the list costs no long turn now. Never rejects. */
  prepare(list: ListNoun, kernel: TurnsKernel): Promise<void> | undefined;
}

/** One server in a view; `allowed` = native names of tools, undefined = all. Its prompts and resources are always shown. */
export interface Pick {
  readonly shelf: ServerShelf;
  readonly allowed: ReadonlySet<string> | undefined;
}

interface Parts {
  readonly tools: NamesOfView;
  readonly prompts: NamesOfView;
  readonly resources: ResourcesOfView;
  readonly declared: ReadonlyMap<string, readonly Declared[]>;
}

export class ShelfView implements View {
  readonly key: string;
  readonly servers: readonly string[];
  readonly parts: Parts;

  constructor(key: string, servers: readonly string[], parts: Parts) {
    this.key = key;
    this.servers = servers;
    this.parts = parts;
  }

  /** Makes ready, in steps of about a millisecond, what the view before had been asked for. */
  *warm(before: ShelfView | undefined): Generator<void, void> {
    if (before === undefined || before === this) return yield;
    yield* this.parts.tools.warm(before.parts.tools);
    yield* this.parts.prompts.warm(before.parts.prompts);
  }

  get toolCount(): number {
    return this.parts.tools.count;
  }

  get promptCount(): number {
    return this.parts.prompts.count;
  }

  get resourceCount(): number {
    return this.parts.resources.resourceCount;
  }

  get templateCount(): number {
    return this.parts.resources.templateCount;
  }

  get digests(): Record<ListKind, string> {
    const { tools, prompts, resources } = this.parts;
    return { tools: tools.digest, prompts: prompts.digest, resources: resources.digest };
  }

  route(name: string): Route | undefined {
    return this.parts.tools.route(name);
  }

  promptRoute(name: string): Route | undefined {
    return this.parts.prompts.route(name);
  }

  closestTool(name: string): string | undefined {
    return this.parts.tools.closest(name);
  }

  closestPrompt(name: string): string | undefined {
    return this.parts.prompts.closest(name);
  }

  resourceRoute(uri: string): ResourceRoute | undefined {
    return this.parts.resources.route(uri);
  }

  templateRoute(text: string): ResourceRoute | undefined {
    return this.parts.resources.templateRoute(text);
  }

  declares(server: string, what: Declared): boolean {
    return this.parts.declared.get(server)?.includes(what) ?? false;
  }

  toolsJson(): Buffer {
    return this.parts.tools.json();
  }

  promptsJson(): Buffer {
    return this.parts.prompts.json();
  }

  resourcesJson(): Buffer {
    return this.parts.resources.resourcesJson();
  }

  templatesJson(): Buffer {
    return this.parts.resources.templatesJson();
  }

  prepare(list: ListNoun, kernel: TurnsKernel): Promise<void> | undefined {
    const { tools, prompts, resources } = this.parts;
    if (list === 'tools') return tools.prepare(kernel);
    return list === 'prompts' ? prompts.prepare(kernel) : resources.prepare(list, kernel);
  }
}

/** Keys of views of a single server begin so. */
export const ONE_SERVER = 'server:';

/** The same view when nothing has changed; else a new one with the parts that have not. */
export function viewOf(
  key: string,
  picks: readonly Pick[],
  ownerOf: { readonly tool: OwnerOf; readonly prompt: OwnerOf; readonly addresses: AddressBook },
  before: ShelfView | undefined,
): ShelfView {
  const was = before?.parts;
  // A server that shows no tool (yet) changes nothing in the list of tools, so that nobody is told of it.
  const withTools = picks.filter(({ shelf, allowed }) =>
    shelf.tools.items.some(({ route }) => !allowed || allowed.has(route.native)),
  );
  const tools = namesOfView(
    withTools.map(({ shelf, allowed }) => ({ shelf: shelf.tools, allowed })),
    ownerOf.tool,
    was?.tools,
  );
  // A server without prompts changes nothing in the list of prompts, nor does one without resources.
  const withPrompts = picks.filter(({ shelf }) => shelf.prompts.items.length > 0);
  const prompts = namesOfView(
    withPrompts.map(({ shelf }) => ({ shelf: shelf.prompts, allowed: undefined })),
    ownerOf.prompt,
    was?.prompts,
  );
  const shelves = picks.map(({ shelf }) => shelf.resources);
  const resources = resourcesOfView(
    shelves.filter(({ declares, digest }) => declares || digest !== ''),
    { book: ownerOf.addresses, isSingle: key.startsWith(ONE_SERVER) },
    was?.resources,
  );
  const isSame =
    before !== undefined &&
    before.parts.tools === tools &&
    before.parts.prompts === prompts &&
    before.parts.resources === resources &&
    before.servers.length === picks.length &&
    picks.every(({ shelf }) => before.parts.declared.get(shelf.server)?.join() === shelf.declared.join());
  if (isSame) return before;
  const declared = new Map(picks.map(({ shelf }) => [shelf.server, shelf.declared]));
  const servers = picks.map(({ shelf }) => shelf.server);
  return new ShelfView(key, servers, { tools, prompts, resources, declared });
}
