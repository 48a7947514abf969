/**
 * Assigns the names that clients see: `server_tool` of letters, digits and underscores, at most 48 (Cursor hides longer
 * ones and calls `docs_find` for `docs.find`; Claude rejects a whole request for one invalid name). Prompts follow the
 * same rules independently. A resource or template keeps its address, which belongs to the server that listed it first;
 * another server's is `mcphub://<slug>/…` (`exposed-uri.ts`).
 * Guarantees: pure; an assigned name stays; names are unique and valid; the same input gives the same names. Control
 * stores them.
 */
import type { GivenName, Listing, ServerSpec } from '../model/snapshot.ts';
import { atOnce } from '../runtime/take-turn.ts';
import { EXPOSED_NAME, unusedName } from './exposed-name.ts';
import { exposedTemplate, exposedUri, isHubUri } from './exposed-uri.ts';

/** Names of each kind kept for items that a configured server no longer lists; the oldest are deleted first. */
const RETIRED_PER_SERVER = 1000;

export interface NamesInput {
  readonly listings: readonly Listing[];
  /** In configuration order, which decides who gets the plain name when two appear at the same time. */
  readonly servers: readonly ServerSpec[];
  /** Names assigned before. */
  readonly assigned: readonly GivenName[];
  /** Age of the first new name; undefined = new names have no age. */
  readonly nextAge?: number;
}

/** Rows of one step, about 1 ms. */
const STEP_ROWS = 500;

type Kind = GivenName['kind'];

/** The input for one kind. */
interface KindInput {
  readonly kind: Kind;
  readonly servers: readonly ServerSpec[];
  /** Oldest first. */
  readonly assigned: readonly GivenName[];
  readonly listNatives: (server: string) => readonly string[];
  readonly nextAge: number | undefined;
}

/**
 * Returns all names: those assigned before (without those of servers that are not configured), then one for each new
 * item.
 */
export function assignNames(input: NamesInput): GivenName[] {
  return atOnce(nameSteps(input));
}

/** Like `assignNames`, in steps of about 1 ms. */
export function* nameSteps({ listings, servers, assigned, nextAge }: NamesInput): Generator<void, GivenName[]> {
  const listingOf = new Map(listings.map((listing) => [listing.server, listing]));
  const all: GivenName[] = []; // bounded by: the names of all kinds
  let age = nextAge;
  for (const kind of ['tool', 'prompt', 'resource', 'template'] as const) {
    const names = yield* assignKind({
      kind,
      servers,
      assigned: assigned.filter((name) => name.kind === kind),
      listNatives(server) {
        const listed = (listingOf.get(server)?.[LIST_OF[kind]] ?? []).map(({ native }) => native);
        return isAddress(kind) ? listed.filter((native) => native.length <= ADDRESS_CHARS) : listed;
      },
      nextAge: age,
    });
    for (const name of names) all.push(name);
    if (age !== undefined) age = Math.max(age, (names.at(-1)?.age ?? 0) + 1);
    if (names.length >= STEP_ROWS) yield;
  }
  return all;
}

const LIST_OF = { tool: 'tools', prompt: 'prompts', resource: 'resources', template: 'templates' } as const;
/** Items with a longer address are not shown: clients could not request them. */
const ADDRESS_CHARS = 4096;

function isAddress(kind: Kind): kind is 'resource' | 'template' {
  return kind === 'resource' || kind === 'template';
}

/** Returns the exposed address of an item whose native address is taken, or has the scheme of the hub. */
function hubAddress(kind: 'resource' | 'template', server: string, native: string): string {
  return kind === 'resource' ? exposedUri(server, native) : exposedTemplate(server, native);
}

function* assignKind(input: KindInput): Generator<void, GivenName[]> {
  const { names, taken, named } = yield* keepNames(input);
  const { kind, nextAge } = input;
  let age = nextAge;
  let rows = 0;
  for (const { slug } of input.servers) {
    const ofServer = getSet(named, slug);
    for (const native of input.listNatives(slug)) {
      rows += 1;
      if (rows % STEP_ROWS === 0) yield;
      if (ofServer.has(native)) continue;
      ofServer.add(native);
      const exposed = isAddress(kind) ? unusedAddress(kind, slug, native, taken) : unusedName(slug, native, taken);
      taken.add(exposed);
      names.push({ kind, exposed, server: slug, native, ...(age === undefined ? {} : { age }) });
      if (age !== undefined) age += 1;
    }
  }
  return names;
}

interface KeptNames {
  readonly names: GivenName[]; // bounded by: serverTools of each server, and RETIRED_PER_SERVER
  /** Exposed names of `names`. */
  readonly taken: Set<string>; // bounded by: names
  /** Native names of `names`, by server. */
  readonly named: Map<string, Set<string>>; // bounded by: names
}

function getSet(sets: Map<string, Set<string>>, key: string): Set<string> {
  const known = sets.get(key);
  if (known) return known;
  const made = new Set<string>();
  sets.set(key, made);
  return made;
}

function* keepNames(input: KindInput): Generator<void, KeptNames> {
  const { kind, assigned, servers, listNatives } = input;
  const listed = new Map<string, ReadonlySet<string>>(); // bounded by: servers
  for (const { slug } of servers) {
    listed.set(slug, new Set(listNatives(slug)));
    if ((listed.get(slug)?.size ?? 0) >= STEP_ROWS) yield;
  }
  const excess = new Map<string, number>();
  const taken = new Set<string>();
  const named = new Map<string, Set<string>>();
  const names: GivenName[] = [];
  for (const [at, name] of assigned.entries()) {
    if (at % STEP_ROWS === STEP_ROWS - 1) yield;
    const { exposed, server, native } = name;
    const natives = listed.get(server);
    const ofServer = getSet(named, server);
    if (!natives || taken.has(exposed) || ofServer.has(native) || !isValidName(kind, exposed, server, native)) continue;
    taken.add(exposed);
    ofServer.add(native);
    names.push(name);
    if (!natives.has(native)) excess.set(server, (excess.get(server) ?? -RETIRED_PER_SERVER) + 1);
  }
  if (![...excess.values()].some((over) => over > 0)) return { names, taken, named };
  const kept: GivenName[] = [];
  for (const [at, name] of names.entries()) {
    if (at % STEP_ROWS === STEP_ROWS - 1) yield;
    const over = excess.get(name.server) ?? 0;
    if (over > 0 && !listed.get(name.server)?.has(name.native)) excess.set(name.server, over - 1);
    else kept.push(name);
  }
  return yield* keepNames({ ...input, assigned: kept });
}

function isValidName(kind: Kind, exposed: string, server: string, native: string): boolean {
  if (!isAddress(kind)) return EXPOSED_NAME.test(exposed);
  return exposed === (isHubUri(native) ? '' : native) || exposed === hubAddress(kind, server, native);
}

function unusedAddress(
  kind: 'resource' | 'template',
  server: string,
  native: string,
  taken: ReadonlySet<string>,
): string {
  return taken.has(native) || isHubUri(native) ? hubAddress(kind, server, native) : native;
}
