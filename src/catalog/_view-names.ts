/**
 * The tools or the prompts of one view: where each name leads, and the bytes of the list.
 * Promises: immutable; the list is serialised once; a name leads to what is shown under it, or by another spelling to the one thing that it can
 * mean; a spelling that two share, or that is another's given name, leads nowhere.
 */
import { createHash } from 'node:crypto';
import { atOnce, type TurnsKernel } from '../kernel/take-turn.ts';
import { joinedSteps } from './_json-list.ts';
import { ListJson } from './_list-json.ts';
import type { Item, Shelf } from './_server-index.ts';
import { closestName } from './closest-name.ts';
import { nameAliases, normalName } from './names.ts';
import type { Route } from './route.ts';

/** One server's shelf in a view; `allowed` = native names, undefined = all. */
export interface ShelfPick {
  readonly shelf: Shelf;
  readonly allowed: ReadonlySet<string> | undefined;
}

/** The server to which an exposed name was given, in or outside the view. */
export type OwnerOf = (exposed: string) => { readonly server: string; readonly native: string } | undefined;

const AMBIGUOUS = Symbol('two share this spelling');

interface Spellings {
  readonly exposed: ReadonlyMap<string, Route>;
  readonly native: ReadonlyMap<string, Route | typeof AMBIGUOUS>;
  readonly normal: ReadonlyMap<string, Route | typeof AMBIGUOUS>;
}

export class NamesOfView {
  /** Changes exactly when the list does. */
  readonly digest: string;
  readonly #items: readonly Item[]; // bounded by: servers × serverTools
  readonly #ownerOf: OwnerOf;
  #spellings: Spellings | undefined;
  readonly #json: ListJson;

  constructor(digest: string, picks: readonly ShelfPick[], ownerOf: OwnerOf) {
    this.digest = digest;
    this.#items = picks.flatMap(({ shelf, allowed }) =>
      allowed ? shelf.items.filter(({ route }) => allowed.has(route.native)) : shelf.items,
    );
    this.#ownerOf = ownerOf;
    this.#json = new ListJson(() => this.#jsonSteps());
  }

  get count(): number {
    return this.#items.length;
  }

  route(name: string): Route | undefined {
    this.#spellings ??= atOnce(spellingsOf(this.#items));
    const exact = this.#spellings.exposed.get(name);
    if (exact) return exact;
    const normal = normalName(name);
    const found = this.#spellings.native.get(name) ?? this.#spellings.normal.get(normal);
    if (found === undefined || found === AMBIGUOUS) return undefined;
    return this.#isOthers(name, found) || this.#isOthers(normal, found) ? undefined : found;
  }

  /** The name of the view that is closest to one that leads nowhere; undefined = none is close. */
  closest(name: string): string | undefined {
    return closestName(
      name,
      this.#items.values().map(({ route }) => route),
    );
  }

  /** A client that remembers the name of something it may no longer see must not reach another by it. */
  #isOthers(spelling: string, { server, native }: Route): boolean {
    const owner = this.#ownerOf(spelling);
    return owner !== undefined && (owner.server !== server || owner.native !== native);
  }

  json(): Buffer {
    return this.#json.text();
  }

  /** Settles when `json` costs nothing; undefined = it costs no long turn now. */
  prepare(kernel: TurnsKernel): Promise<void> | undefined {
    let chars = 0;
    if (!this.#json.isReady) for (const { chars: more } of this.#items) chars += more;
    return this.#json.prepare(chars, kernel);
  }

  /** Makes ready, in steps of about a millisecond, what the list before had been asked for. */
  *warm(before: NamesOfView): Generator<void, void> {
    if (before === this) return;
    if (before.#spellings && !this.#spellings) this.#spellings = yield* spellingsOf(this.#items);
    if (before.#json.isReady) yield* this.#json.steps();
  }

  *#jsonSteps(): Generator<void, Buffer> {
    const parts: Buffer[] = []; // bounded by: items
    let bytes = 0;
    for (const { json } of this.#items) {
      parts.push(json);
      bytes += json.length;
      if (bytes < STEP_BYTES) continue;
      bytes = 0;
      yield;
    }
    return yield* joinedSteps(parts);
  }
}

/** The same object when nothing has changed. */
export function namesOfView(
  picks: readonly ShelfPick[],
  ownerOf: OwnerOf,
  before: NamesOfView | undefined,
): NamesOfView {
  const digest = digestOf(picks);
  return before?.digest === digest ? before : new NamesOfView(digest, picks, ownerOf);
}

function digestOf(picks: readonly ShelfPick[]): string {
  const hash = createHash('sha256');
  for (const { shelf, allowed } of picks) {
    hash.update(shelf.digest);
    if (!allowed) hash.update('*');
    else for (const item of shelf.items) hash.update(allowed.has(item.route.native) ? '+' : '-');
  }
  return hash.digest('hex');
}

/** Of one step: about 1 ms. */
const STEP_ROWS = 250;
const STEP_BYTES = 256 * 1024;

function* spellingsOf(items: readonly Item[]): Generator<void, Spellings> {
  const exposed = new Map<string, Route>();
  const native = new Map<string, Route | typeof AMBIGUOUS>();
  const normal = new Map<string, Route | typeof AMBIGUOUS>();
  for (const [at, { route }] of items.entries()) {
    if (at % STEP_ROWS === STEP_ROWS - 1) yield;
    exposed.set(route.exposed, route);
    native.set(route.native, native.has(route.native) ? AMBIGUOUS : route);
    for (const alias of new Set([...nameAliases(route.server, route.native), normalName(route.exposed)])) {
      normal.set(alias, normal.has(alias) ? AMBIGUOUS : route);
    }
  }
  return { exposed, native, normal };
}
