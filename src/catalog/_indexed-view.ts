/**
 * Builds views (`view.ts`) from the indexes of their servers.
 * Guarantees: a view is immutable; what has not changed since the previous view is taken over from it, also its bytes.
 */
import type { Declared } from '../model/snapshot.ts';
import type { TurnsRuntime } from '../runtime/take-turn.ts';
import type { ServerIndex } from './_server-index.ts';
import { buildViewNames, type FindOwner, type ViewNames } from './_view-names.ts';
import { type AddressLookup, buildViewResources, type ViewResources } from './_view-resources.ts';
import type { ResourceRoute, Route } from './route.ts';
import type { ListKind, ListName, View } from './view.ts';

/**
 * One server in a view; `allowed`: native names of tools, undefined = all. Its prompts and resources are always shown.
 */
export interface Selection {
  readonly index: ServerIndex;
  readonly allowed: ReadonlySet<string> | undefined;
}

interface Parts {
  readonly tools: ViewNames;
  readonly prompts: ViewNames;
  readonly resources: ViewResources;
  readonly declared: ReadonlyMap<string, readonly Declared[]>;
}

export class IndexedView implements View {
  readonly key: string;
  readonly servers: readonly string[];
  readonly parts: Parts;

  constructor(key: string, servers: readonly string[], parts: Parts) {
    this.key = key;
    this.servers = servers;
    this.parts = parts;
  }

  /** Builds, in steps of about 1 ms, what the previous view had already built. */
  *warm(before: IndexedView | undefined): Generator<void, void> {
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

  prepare(list: ListName, runtime: TurnsRuntime): Promise<void> | undefined {
    const { tools, prompts, resources } = this.parts;
    if (list === 'tools') return tools.prepare(runtime);
    return list === 'prompts' ? prompts.prepare(runtime) : resources.prepare(list, runtime);
  }
}

/** Prefix of the keys of views of a single server. */
export const SERVER_VIEW_PREFIX = 'server:';

/** Returns the previous view when nothing has changed, else a new one that reuses unchanged parts. */
export function buildView(
  key: string,
  selections: readonly Selection[],
  findOwner: { readonly tool: FindOwner; readonly prompt: FindOwner; readonly addresses: AddressLookup },
  before: IndexedView | undefined,
): IndexedView {
  const was = before?.parts;
  // A server without shown tools does not change the list of tools: clients need no notification.
  const withTools = selections.filter(({ index, allowed }) =>
    index.tools.items.some(({ route }) => !allowed || allowed.has(route.native)),
  );
  const tools = buildViewNames(
    withTools.map(({ index, allowed }) => ({ index: index.tools, allowed })),
    findOwner.tool,
    was?.tools,
  );
  // A server without prompts or resources does not change those lists.
  const withPrompts = selections.filter(({ index }) => index.prompts.items.length > 0);
  const prompts = buildViewNames(
    withPrompts.map(({ index }) => ({ index: index.prompts, allowed: undefined })),
    findOwner.prompt,
    was?.prompts,
  );
  const indexes = selections.map(({ index }) => index.resources);
  const resources = buildViewResources(
    indexes.filter(({ declares, digest }) => declares || digest !== ''),
    { book: findOwner.addresses, isSingle: key.startsWith(SERVER_VIEW_PREFIX) },
    was?.resources,
  );
  const isSame =
    before !== undefined &&
    before.parts.tools === tools &&
    before.parts.prompts === prompts &&
    before.parts.resources === resources &&
    before.servers.length === selections.length &&
    selections.every(({ index }) => before.parts.declared.get(index.server)?.join() === index.declared.join());
  if (isSame) return before;
  const declared = new Map(selections.map(({ index }) => [index.server, index.declared]));
  const servers = selections.map(({ index }) => index.server);
  return new IndexedView(key, servers, { tools, prompts, resources, declared });
}
