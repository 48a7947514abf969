import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { GivenSlug } from '../store/slugs.ts';
import { bySlugOrName, newSlugs } from './slugs.ts';

const named = (...names: string[]) => names.map((name) => ({ name }));
const slugsOf = (given: readonly GivenSlug[]) => Object.fromEntries(given.map(({ name, slug }) => [name, slug]));
const server = (name: string, slug: string): GivenSlug => ({ kind: 'server', name, slug });

test('a legal name stays as it is, another gets a readable form or a hash', () => {
  const given = slugsOf(newSlugs({ servers: named('github', 'My Server', 'Café', '깃허브'), groups: [] }, []));
  assert.equal(given.github, 'github');
  assert.equal(given['My Server'], 'My-Server');
  assert.equal(given.Café, 'Cafe');
  assert.match(given.깃허브 ?? '', /^s-[0-9a-f]{6}$/);
});

test('a legal name gets its own form also when another’s would be the same', () => {
  const given = slugsOf(newSlugs({ servers: named('My Server', 'My-Server'), groups: [] }, []));
  assert.equal(given['My-Server'], 'My-Server');
  assert.match(given['My Server'] ?? '', /^My-Server_[0-9a-f]{6}$/);
});

test('a new server renames nothing, and one that comes back has its own again', () => {
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

test('whatever the names, slugs are legal, unique, one a name, and never change', () => {
  const name = fc.oneof(
    fc.string({ minLength: 1, maxLength: 40, unit: 'grapheme' }),
    fc.constantFrom('a b', 'a-b', 'a_b', 'é', 'e', 'x'.repeat(33), 'x'.repeat(40)),
  );
  fc.assert(
    fc.property(fc.array(name, { maxLength: 20 }), fc.array(name, { maxLength: 20 }), (first, second) => {
      const given = newSlugs({ servers: named(...first), groups: [] }, []);
      const all = [...given, ...newSlugs({ servers: named(...second, ...first), groups: [] }, given)];
      for (const { slug } of all) assert.match(slug, /^[A-Za-z0-9_-]{1,32}$/);
      assert.equal(new Set(all.map(({ slug }) => slug)).size, all.length);
      assert.deepEqual(new Set(all.map((one) => one.name)), new Set([...first, ...second]));
    }),
  );
});

test('a word in a URL means the slug first, then the name', () => {
  const list = [
    { slug: 'a', name: 'b' },
    { slug: 'b', name: 'ü' },
  ];
  assert.equal(bySlugOrName('b', list)?.slug, 'b');
  assert.equal(bySlugOrName('ü', list)?.slug, 'b');
  assert.equal(bySlugOrName('none', list), undefined);
});
