/**
 * What one group, one server or everybody sees: routes by name and URI, and the bytes of the four lists. `auth/`
 * decides who gets which view.
 * Guarantees: immutable; each list is serialized once, and unchanged lists keep the same bytes from view to view.
 */
import type { Declared } from '../model/snapshot.ts';
import type { TurnsRuntime } from '../runtime/take-turn.ts';
import type { ResourceRoute, Route } from './route.ts';

export type { Route };

/** Lists for which clients receive list_changed; templates belong to resources. */
export type ListKind = 'tools' | 'prompts' | 'resources';
/** The four lists. */
export type ListName = ListKind | 'templates';

export interface View {
  /** `all`, `group:<slug>`, `server:<slug>` or `groups:<slug>,<slug>…`. */
  readonly key: string;
  /** Slugs of the enabled servers in configuration order, including those without tools. */
  readonly servers: readonly string[];
  readonly toolCount: number;
  readonly promptCount: number;
  readonly resourceCount: number;
  readonly templateCount: number;
  /** Each changes exactly when that list does. */
  readonly digests: Readonly<Record<ListKind, string>>;
  /**
   * Finds a tool by its exact exposed name, then by an unambiguous other spelling (`docs.find`, `docs-find`, the native
   * name).
   */
  route(name: string): Route | undefined;
  /** Finds a prompt by the same rules. */
  promptRoute(name: string): Route | undefined;
  /** Returns the exposed name of the tool or prompt closest to an unknown name; undefined = none is close. */
  closestTool(name: string): string | undefined;
  closestPrompt(name: string): string | undefined;
  /** Finds the server that has this resource, or can tell whether it does. */
  resourceRoute(uri: string): ResourceRoute | undefined;
  /** Finds the server of a template's text, or of a URI. */
  templateRoute(text: string): ResourceRoute | undefined;
  /** Returns whether a server of the view declared this capability. */
  declares(server: string, what: Declared): boolean;
  /** JSON arrays with exposed names; always the same buffers. Callers must not modify them. */
  toolsJson(): Buffer;
  promptsJson(): Buffer;
  resourcesJson(): Buffer;
  templatesJson(): Buffer;
  /** Builds a long list over several turns of the event loop. Undefined = not needed. Never rejects. */
  prepare(list: ListName, runtime: TurnsRuntime): Promise<void> | undefined;
}
