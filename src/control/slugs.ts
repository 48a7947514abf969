/**
 * Which short ASCII form each server and group has, given once: a new server renames nothing, and one that comes back has its own again.
 * Promises: pure; slugs of servers are unique, and those of groups; where the plain form is taken, a hash of the name makes another.
 * Does not: find the plain form (`config/slug.ts`) or keep what was given (`store/slugs.ts`).
 */
import { createHash } from 'node:crypto';
import { slugFrom } from '../config/slug.ts';
import type { GivenSlug } from '../store/slugs.ts';

const MAX_LENGTH = 32;
const HASH_LENGTH = 6;

export interface NamesToSlug {
  readonly servers: readonly { readonly name: string }[];
  readonly groups: readonly { readonly name: string }[];
}

/** The slugs that must be added so that every name has one. */
export function newSlugs(wanted: NamesToSlug, given: readonly GivenSlug[]): GivenSlug[] {
  return [...newOfKind('server', wanted.servers, given), ...newOfKind('group', wanted.groups, given)];
}

function newOfKind(
  kind: GivenSlug['kind'],
  wanted: readonly { readonly name: string }[],
  given: readonly GivenSlug[],
): GivenSlug[] {
  const mine = given.filter((one) => one.kind === kind);
  const named = new Set(mine.map(({ name }) => name));
  const taken = new Set(mine.map(({ slug }) => slug));
  const added: GivenSlug[] = [];
  const missing = wanted.map(({ name }) => name).filter((name) => !named.has(name));
  // Names that are legal as they are come first, so that another's made-up form cannot take theirs in the same round.
  for (const name of [...missing.filter(isPlain), ...missing.filter((name) => !isPlain(name))]) {
    if (named.has(name)) continue;
    const slug = freeSlug(name, taken);
    named.add(name);
    taken.add(slug);
    added.push({ kind, name, slug });
  }
  return added;
}

function isPlain(name: string): boolean {
  return slugFrom(name) === name;
}

function freeSlug(name: string, taken: ReadonlySet<string>): string {
  const plain = slugFrom(name);
  if (!taken.has(plain)) return plain;
  for (let round = 0; ; round += 1) {
    const hash = createHash('sha256').update(`${name}\n${round}`).digest('hex').slice(0, HASH_LENGTH);
    const slug = `${plain.slice(0, MAX_LENGTH - HASH_LENGTH - 1)}_${hash}`;
    if (!taken.has(slug)) return slug;
  }
}

/** Slug of each name of a kind. */
export function slugsByName(kind: GivenSlug['kind'], given: readonly GivenSlug[]): ReadonlyMap<string, string> {
  return new Map(given.filter((one) => one.kind === kind).map(({ name, slug }) => [name, slug]));
}

/** The one of this slug, or else of this name. */
export function bySlugOrName<T extends { readonly slug: string; readonly name: string }>(
  word: string,
  list: readonly T[],
): T | undefined {
  return list.find(({ slug }) => slug === word) ?? list.find(({ name }) => name === word);
}
