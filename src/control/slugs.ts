/**
 * Assigns short ASCII names (slugs) to servers and groups, permanently: new servers rename nothing, and one that
 * returns has its old slug.
 * Guarantees: pure; slugs are unique among servers and among groups; when the plain form (`config/slug.ts`) is taken, a
 * hash is appended.
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

/** Returns the slugs to add so that every name has one. */
export function newSlugs(wanted: NamesToSlug, given: readonly GivenSlug[]): GivenSlug[] {
  return [...newSlugsOfKind('server', wanted.servers, given), ...newSlugsOfKind('group', wanted.groups, given)];
}

function newSlugsOfKind(
  kind: GivenSlug['kind'],
  wanted: readonly { readonly name: string }[],
  given: readonly GivenSlug[],
): GivenSlug[] {
  const mine = given.filter((one) => one.kind === kind);
  const named = new Set(mine.map(({ name }) => name));
  const taken = new Set(mine.map(({ slug }) => slug));
  const added: GivenSlug[] = [];
  const missing = wanted.map(({ name }) => name).filter((name) => !named.has(name));
  // Assign names that are already valid slugs first, so that a converted name cannot take one of them.
  for (const name of [...missing.filter(isPlain), ...missing.filter((name) => !isPlain(name))]) {
    if (named.has(name)) continue;
    const slug = unusedSlug(name, taken);
    named.add(name);
    taken.add(slug);
    added.push({ kind, name, slug });
  }
  return added;
}

function isPlain(name: string): boolean {
  return slugFrom(name) === name;
}

function unusedSlug(name: string, taken: ReadonlySet<string>): string {
  const plain = slugFrom(name);
  if (!taken.has(plain)) return plain;
  for (let round = 0; ; round += 1) {
    const hash = createHash('sha256').update(`${name}\n${round}`).digest('hex').slice(0, HASH_LENGTH);
    const slug = `${plain.slice(0, MAX_LENGTH - HASH_LENGTH - 1)}_${hash}`;
    if (!taken.has(slug)) return slug;
  }
}

/** Returns the slug of each name of a kind. */
export function slugsByName(kind: GivenSlug['kind'], given: readonly GivenSlug[]): ReadonlyMap<string, string> {
  return new Map(given.filter((one) => one.kind === kind).map(({ name, slug }) => [name, slug]));
}

/** Returns the item with this slug, else the one with this name. */
export function findBySlugOrName<T extends { readonly slug: string; readonly name: string }>(
  word: string,
  list: readonly T[],
): T | undefined {
  return list.find(({ slug }) => slug === word) ?? list.find(({ name }) => name === word);
}
