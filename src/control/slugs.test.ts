import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { GivenSlug } from '../store/slugs.ts';
import { findBySlugOrName, newSlugs } from './slugs.ts';

const named = (...names: string[]) => names.map((name) => ({ name }));
const slugsOf = (slugs: readonly GivenSlug[]) => Object.fromEntries(slugs.map(({ name, slug }) => [name, slug]));
const server = (name: string, slug: string): GivenSlug => ({ kind: 'server', name, slug });

test('keeps a valid name; converts others to a readable form or a hash', () => {
  const slugs = slugsOf(newSlugs({ servers: named('github', 'My Server', 'Café', '깃허브'), groups: [] }, []));
  assert.equal(slugs.github, 'github');
  assert.equal(slugs['My Server'], 'My-Server');
  assert.equal(slugs.Café, 'Cafe');
  assert.match(slugs.깃허브 ?? '', /^s-[0-9a-f]{6}$/);
});

test('a valid name keeps its form when another name converts to the same', () => {
  const slugs = slugsOf(newSlugs({ servers: named('My Server', 'My-Server'), groups: [] }, []));
  assert.equal(slugs['My-Server'], 'My-Server');
  assert.match(slugs['My Server'] ?? '', /^My-Server_[0-9a-f]{6}$/);
});

test('a new server renames nothing, and one that returns has its old slug', () => {
  const before = [server('My Server', 'My-Server')];
  const added = newSlugs({ servers: named('My-Server', 'My Server'), groups: [] }, before);
  assert.equal(added.length, 1);
  assert.match(added[0]?.slug ?? '', /^My-Server_[0-9a-f]{6}$/);
  assert.deepEqual(newSlugs({ servers: named('My Server'), groups: [] }, [...before, ...added]), []);
});

test('a group may have the name of a server', () => {
  const added = newSlugs({ servers: named('dev'), groups: named('dev') }, []);
  assert.deepEqual(
    added.map(({ kind, slug }) => [kind, slug]),
    [
      ['server', 'dev'],
      ['group', 'dev'],
    ],
  );
});

test('slugs are valid, unique, one for each name, and never change, for any names', () => {
  const name = fc.oneof(
    fc.string({ minLength: 1, maxLength: 40, unit: 'grapheme' }),
    fc.constantFrom('a b', 'a-b', 'a_b', 'é', 'e', 'x'.repeat(33), 'x'.repeat(40)),
  );
  fc.assert(
    fc.property(fc.array(name, { maxLength: 20 }), fc.array(name, { maxLength: 20 }), (first, second) => {
      const slugs = newSlugs({ servers: named(...first), groups: [] }, []);
      const all = [...slugs, ...newSlugs({ servers: named(...second, ...first), groups: [] }, slugs)];
      for (const { slug } of all) assert.match(slug, /^[A-Za-z0-9_-]{1,32}$/);
      assert.equal(new Set(all.map(({ slug }) => slug)).size, all.length);
      assert.deepEqual(new Set(all.map((one) => one.name)), new Set([...first, ...second]));
    }),
  );
});

test('finds by slug first, then by name', () => {
  const list = [
    { slug: 'a', name: 'b' },
    { slug: 'b', name: 'ü' },
  ];
  assert.equal(findBySlugOrName('b', list)?.slug, 'b');
  assert.equal(findBySlugOrName('ü', list)?.slug, 'b');
  assert.equal(findBySlugOrName('none', list), undefined);
});
