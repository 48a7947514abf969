/**
 * What one group, one server or everybody sees: where each name leads, and the bytes of its tools/list.
 * Promises: immutable; the list is serialised once; a name leads to the tool that is shown under it, or by another spelling to the one
 * tool that it can mean; a spelling that two tools share, or that is another tool's given name, leads nowhere.
 * Does not: know who is calling; `auth/` decides which view that is.
 */
import { createHash } from 'node:crypto';
import type { Item, Shelf } from './_shelf.ts';
import { nameAliases, normalName } from './names.ts';
import type { Route } from './route.ts';

export type { Route };

export interface View {
  /** `all`, `group:<slug>`, `server:<slug>` or `groups:<slug>,<slug>…`. */
  readonly key: string;
  /** Slugs of the enabled servers in it, in configuration order, also of those that have no tools (yet). */
  readonly servers: readonly string[];
  readonly toolCount: number;
  /** Changes exactly when the list does. */
  readonly digest: string;
  /** By exact exposed name, then by an unambiguous other spelling (`docs.find`, `docs-find`, the native name). */
  route(name: string): Route | undefined;
  /** JSON array text with exposed names; the same buffer every time. Not to be written to. */
  toolsJson(): Buffer;
}

/** One server in a view; `allowed` = native names, undefined = all. */
export interface Pick {
  readonly shelf: Shelf;
  readonly allowed: ReadonlySet<string> | undefined;
}

/** The server to which an exposed name was given, in or outside the view. */
export type OwnerOf = (exposed: string) => { readonly server: string; readonly native: string } | undefined;

export function digestOf(picks: readonly Pick[]): string {
  const hash = createHash('sha256');
  for (const { shelf, allowed } of picks) {
    hash.update(shelf.digest);
    if (!allowed) hash.update('*');
    else for (const item of shelf.items) hash.update(allowed.has(item.route.native) ? '+' : '-');
  }
  return hash.digest('hex');
}

const AMBIGUOUS = Symbol('two tools share this spelling');

interface Spellings {
  readonly exposed: ReadonlyMap<string, Route>;
  readonly native: ReadonlyMap<string, Route | typeof AMBIGUOUS>;
  readonly normal: ReadonlyMap<string, Route | typeof AMBIGUOUS>;
}

export class ShelfView implements View {
  readonly key: string;
  readonly digest: string;
  readonly servers: readonly string[];
  readonly #items: readonly Item[]; // bounded by: servers × serverTools
  readonly #ownerOf: OwnerOf;
  #spellings: Spellings | undefined;
  #json: Buffer | undefined;

  constructor(key: string, digest: string, picks: readonly Pick[], ownerOf: OwnerOf) {
    this.key = key;
    this.digest = digest;
    this.servers = picks.map(({ shelf }) => shelf.server);
    this.#items = picks.flatMap(({ shelf, allowed }) =>
      allowed ? shelf.items.filter(({ route }) => allowed.has(route.native)) : shelf.items,
    );
    this.#ownerOf = ownerOf;
  }

  get toolCount(): number {
    return this.#items.length;
  }

  route(name: string): Route | undefined {
    this.#spellings ??= spellingsOf(this.#items);
    const exact = this.#spellings.exposed.get(name);
    if (exact) return exact;
    const normal = normalName(name);
    const found = this.#spellings.native.get(name) ?? this.#spellings.normal.get(normal);
    if (found === undefined || found === AMBIGUOUS) return undefined;
    return this.#isOthers(name, found) || this.#isOthers(normal, found) ? undefined : found;
  }

  /** A client that remembers the name of a tool it may no longer see must not reach another one by it. */
  #isOthers(spelling: string, { server, native }: Route): boolean {
    const owner = this.#ownerOf(spelling);
    return owner !== undefined && (owner.server !== server || owner.native !== native);
  }

  toolsJson(): Buffer {
    this.#json ??= joined(this.#items);
    return this.#json;
  }
}

function spellingsOf(items: readonly Item[]): Spellings {
  const exposed = new Map<string, Route>();
  const native = new Map<string, Route | typeof AMBIGUOUS>();
  const normal = new Map<string, Route | typeof AMBIGUOUS>();
  for (const { route } of items) {
    exposed.set(route.exposed, route);
    native.set(route.native, native.has(route.native) ? AMBIGUOUS : route);
    for (const alias of new Set([...nameAliases(route.server, route.native), normalName(route.exposed)])) {
      normal.set(alias, normal.has(alias) ? AMBIGUOUS : route);
    }
  }
  return { exposed, native, normal };
}

const OPEN = Buffer.from('[');
const COMMA = Buffer.from(',');
const CLOSE = Buffer.from(']');

function joined(items: readonly Item[]): Buffer {
  const parts: Buffer[] = [OPEN];
  for (const [index, item] of items.entries()) {
    if (index > 0) parts.push(COMMA);
    parts.push(item.json);
  }
  parts.push(CLOSE);
  return Buffer.concat(parts);
}
