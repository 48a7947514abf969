/**
 * The tools or prompts of one view: routes by name, and the bytes of the list.
 * Guarantees: immutable; the list is serialized once; a name leads to the item shown under it, or by another spelling
 * to the only item it can mean; an ambiguous spelling, or a name assigned to another item, leads nowhere.
 */
import { createHash } from 'node:crypto';
import { atOnce, type TurnsRuntime } from '../runtime/take-turn.ts';
import { joinSteps } from './_json-list.ts';
import { ListJson } from './_list-json.ts';
import type { Item, ItemIndex } from './_server-index.ts';
import { closestName } from './closest-name.ts';
import { nameAliases, normalName } from './exposed-name.ts';
import type { Route } from './route.ts';

/** The index of one server in a view; `allowed`: native names, undefined = all. */
export interface ItemSelection {
  readonly index: ItemIndex;
  readonly allowed: ReadonlySet<string> | undefined;
}

/** Returns the server and native name to which an exposed name is assigned, in or outside the view. */
export type FindOwner = (exposed: string) => { readonly server: string; readonly native: string } | undefined;

const AMBIGUOUS = Symbol('two share this spelling');

interface Spellings {
  readonly exposed: ReadonlyMap<string, Route>;
  readonly native: ReadonlyMap<string, Route | typeof AMBIGUOUS>;
  readonly normal: ReadonlyMap<string, Route | typeof AMBIGUOUS>;
}

export class ViewNames {
  /** Changes exactly when the list does. */
  readonly digest: string;
  readonly #items: readonly Item[]; // bounded by: servers × serverTools
  readonly #findOwner: FindOwner;
  #spellings: Spellings | undefined;
  readonly #json: ListJson;

  constructor(digest: string, selections: readonly ItemSelection[], findOwner: FindOwner) {
    this.digest = digest;
    this.#items = selections.flatMap(({ index, allowed }) =>
      allowed ? index.items.filter(({ route }) => allowed.has(route.native)) : index.items,
    );
    this.#findOwner = findOwner;
    this.#json = new ListJson(() => this.#jsonSteps());
  }

  get count(): number {
    return this.#items.length;
  }

  route(name: string): Route | undefined {
    this.#spellings ??= atOnce(spellingSteps(this.#items));
    const exact = this.#spellings.exposed.get(name);
    if (exact) return exact;
    const normal = normalName(name);
    const found = this.#spellings.native.get(name) ?? this.#spellings.normal.get(normal);
    if (found === undefined || found === AMBIGUOUS) return undefined;
    return this.#belongsToOther(name, found) || this.#belongsToOther(normal, found) ? undefined : found;
  }

  /** Returns the exposed name closest to an unknown name; undefined = none is close. */
  closest(name: string): string | undefined {
    return closestName(
      name,
      this.#items.values().map(({ route }) => route),
    );
  }

  /** A client that remembers the name of an item it may no longer see must not reach another item by it. */
  #belongsToOther(spelling: string, { server, native }: Route): boolean {
    const owner = this.#findOwner(spelling);
    return owner !== undefined && (owner.server !== server || owner.native !== native);
  }

  json(): Buffer {
    return this.#json.text();
  }

  /** Builds a long list over several turns; undefined = not needed. Never rejects. */
  prepare(runtime: TurnsRuntime): Promise<void> | undefined {
    let chars = 0;
    if (!this.#json.isReady) for (const { chars: more } of this.#items) chars += more;
    return this.#json.prepare(chars, runtime);
  }

  /** Builds, in steps of about 1 ms, what the previous list had already built. */
  *warm(before: ViewNames): Generator<void, void> {
    if (before === this) return;
    if (before.#spellings && !this.#spellings) this.#spellings = yield* spellingSteps(this.#items);
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
    return yield* joinSteps(parts);
  }
}

/** Returns the previous object when nothing has changed. */
export function buildViewNames(
  selections: readonly ItemSelection[],
  findOwner: FindOwner,
  before: ViewNames | undefined,
): ViewNames {
  const digest = selectionDigest(selections);
  return before?.digest === digest ? before : new ViewNames(digest, selections, findOwner);
}

function selectionDigest(selections: readonly ItemSelection[]): string {
  const hash = createHash('sha256');
  for (const { index, allowed } of selections) {
    hash.update(index.digest);
    if (!allowed) hash.update('*');
    else for (const item of index.items) hash.update(allowed.has(item.route.native) ? '+' : '-');
  }
  return hash.digest('hex');
}

/** Rows of one step, about 1 ms. */
const STEP_ROWS = 250;
const STEP_BYTES = 256 * 1024;

function* spellingSteps(items: readonly Item[]): Generator<void, Spellings> {
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
