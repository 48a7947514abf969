/**
 * The names that clients see: `server_tool`, letters, digits and underscores, 48 at most (Cursor hides longer ones and calls `docs_find`
 * for `docs.find`; Claude refuses a whole request for one bad name).
 * Prompts get theirs by the same rules, in a space of their own. A resource or template keeps its address, which belongs to the server that
 * listed it first; another server's is under `mcphub://<slug>/…` (`exposed-uri.ts`).
 * Promises: pure; a name once given stays, whatever comes later; names are unique and legal; the same input gives the same names.
 * Does not: keep the names; control persists what it gets back.
 */
import { createHash } from 'node:crypto';
import type { GivenName, Listing, ServerSpec } from '../kernel/snapshot.ts';
import { atOnce } from '../kernel/take-turn.ts';
import { exposedTemplate, exposedUri, isOurs } from './exposed-uri.ts';

export const EXPOSED_NAME = /^[A-Za-z0-9_]{1,48}$/;
const MAX_LENGTH = 48;
const HASH_LENGTH = 6;
/** Names of each kind kept for what a configured server no longer lists; the ones given longest ago go first. */
const RETIRED_PER_SERVER = 1000;

export interface NamesInput {
  readonly listings: readonly Listing[];
  /** In configuration order, which decides who gets the plain name when two things come at the same time. */
  readonly servers: readonly ServerSpec[];
  /** What was given before. */
  readonly given: readonly GivenName[];
  /** Age of the first new name; undefined = new names have none. */
  readonly nextAge?: number;
}

/** Rows of one step of work that is done in steps: about 1 ms. */
const STEP_ROWS = 500;

type Kind = GivenName['kind'];

/** One kind's part of the input. */
interface KindInput {
  readonly kind: Kind;
  readonly servers: readonly ServerSpec[];
  /** Oldest first. */
  readonly given: readonly GivenName[];
  readonly nativesOf: (server: string) => readonly string[];
  readonly nextAge: number | undefined;
}

/** All names: those given before (less those of servers that are gone), then one for each listed tool and prompt that has none yet. */
export function giveNames(input: NamesInput): GivenName[] {
  return atOnce(nameSteps(input));
}

/** The same in steps of about a millisecond. */
export function* nameSteps({ listings, servers, given, nextAge }: NamesInput): Generator<void, GivenName[]> {
  const listingOf = new Map(listings.map((listing) => [listing.server, listing]));
  const all: GivenName[] = []; // bounded by: the names of all kinds
  let age = nextAge;
  for (const kind of ['tool', 'prompt', 'resource', 'template'] as const) {
    const names = yield* giveKind({
      kind,
      servers,
      given: given.filter((name) => name.kind === kind),
      nativesOf(server) {
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
/** A longer address is not shown: no client may ask for it. */
const ADDRESS_CHARS = 4096;

function isAddress(kind: Kind): kind is 'resource' | 'template' {
  return kind === 'resource' || kind === 'template';
}

/** The address of a thing whose own address is taken, or is of the hub's scheme. */
function wrappedAddress(kind: 'resource' | 'template', server: string, native: string): string {
  return kind === 'resource' ? exposedUri(server, native) : exposedTemplate(server, native);
}

function* giveKind(input: KindInput): Generator<void, GivenName[]> {
  const { names, taken, named } = yield* keptNames(input);
  const { kind, nextAge } = input;
  let age = nextAge;
  let rows = 0;
  for (const { slug } of input.servers) {
    const ofServer = setOf(named, slug);
    for (const native of input.nativesOf(slug)) {
      rows += 1;
      if (rows % STEP_ROWS === 0) yield;
      if (ofServer.has(native)) continue;
      ofServer.add(native);
      const exposed = isAddress(kind) ? freeAddress(kind, slug, native, taken) : freeName(slug, native, taken);
      taken.add(exposed);
      names.push({ kind, exposed, server: slug, native, ...(age === undefined ? {} : { age }) });
      if (age !== undefined) age += 1;
    }
  }
  return names;
}

interface Kept {
  readonly names: GivenName[]; // bounded by: serverTools of each server, and RETIRED_PER_SERVER
  /** Exposed names of `names`. */
  readonly taken: Set<string>; // bounded by: names
  /** Native names of `names`, by server. */
  readonly named: Map<string, Set<string>>; // bounded by: names
}

function setOf(sets: Map<string, Set<string>>, key: string): Set<string> {
  const known = sets.get(key);
  if (known) return known;
  const made = new Set<string>();
  sets.set(key, made);
  return made;
}

function* keptNames(input: KindInput): Generator<void, Kept> {
  const { kind, given, servers, nativesOf } = input;
  const listed = new Map<string, ReadonlySet<string>>(); // bounded by: servers
  for (const { slug } of servers) {
    listed.set(slug, new Set(nativesOf(slug)));
    if ((listed.get(slug)?.size ?? 0) >= STEP_ROWS) yield;
  }
  const excess = new Map<string, number>();
  const taken = new Set<string>();
  const named = new Map<string, Set<string>>();
  const names: GivenName[] = [];
  for (const [at, name] of given.entries()) {
    if (at % STEP_ROWS === STEP_ROWS - 1) yield;
    const { exposed, server, native } = name;
    const natives = listed.get(server);
    const ofServer = setOf(named, server);
    if (!natives || taken.has(exposed) || ofServer.has(native) || !isLegal(kind, exposed, server, native)) continue;
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
  return yield* keptNames({ ...input, given: kept });
}

/** One string for a server and a tool; slugs have no line feed. */
export function pairKey(server: string, native: string): string {
  return `${server}\n${native}`;
}

function isLegal(kind: Kind, exposed: string, server: string, native: string): boolean {
  if (!isAddress(kind)) return EXPOSED_NAME.test(exposed);
  return exposed === (isOurs(native) ? '' : native) || exposed === wrappedAddress(kind, server, native);
}

function freeAddress(
  kind: 'resource' | 'template',
  server: string,
  native: string,
  taken: ReadonlySet<string>,
): string {
  return taken.has(native) || isOurs(native) ? wrappedAddress(kind, server, native) : native;
}

function freeName(server: string, native: string, taken: ReadonlySet<string>): string {
  const plain = plainName(server, native);
  if (!taken.has(plain)) return plain;
  for (let round = 0; ; round += 1) {
    const name = withHash(plain, hashOf(server, native, round));
    if (!taken.has(name)) return name;
  }
}

function plainName(server: string, native: string): string {
  const tool = legalLetters(native);
  // A tool named in other letters has nothing left to read; then the hash alone tells tools apart.
  const readable = /[A-Za-z0-9]/.test(tool) ? tool : hashOf(server, native, 0);
  const whole = `${legalLetters(server)}_${readable}`;
  return whole.length <= MAX_LENGTH ? whole : withHash(whole, hashOf(server, native, 0));
}

function withHash(name: string, hash: string): string {
  return `${name.slice(0, MAX_LENGTH - HASH_LENGTH - 1)}_${hash}`;
}

function hashOf(server: string, native: string, round: number): string {
  const text = round === 0 ? pairKey(server, native) : `${pairKey(server, native)}\n${round}`;
  return createHash('sha256').update(text).digest('hex').slice(0, HASH_LENGTH);
}

function legalLetters(text: string): string {
  return text.replaceAll(/[^A-Za-z0-9_]/gu, '_');
}

/** The form in which two spellings of a name meet: dots, hyphens and the like become one underscore; case stays. */
export function normalName(name: string): string {
  return name.replaceAll(/[^A-Za-z0-9]+/gu, '_');
}

/** Other spellings that lead to a tool when nothing else claims them, in normal form: `server_tool` untruncated, and the native name alone. */
export function nameAliases(server: string, native: string): readonly string[] {
  const [qualified, bare] = [normalName(`${server}_${native}`), normalName(native)];
  return qualified === bare ? [qualified] : [qualified, bare];
}
