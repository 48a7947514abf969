/**
 * Exposed names are valid, unique and permanent.
 * covers: B13
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { listingOf, serverSpec } from '../../test/support/catalog-worlds.ts';
import type { GivenName, Listing, ServerSpec } from '../model/snapshot.ts';
import { EXPOSED_NAME, nameAliases, normalName } from './exposed-name.ts';
import { assignNames } from './names.ts';

function nameAll(tools: Readonly<Record<string, readonly string[]>>, assigned: readonly GivenName[] = []): GivenName[] {
  const servers: ServerSpec[] = Object.keys(tools).map((slug) => serverSpec(slug));
  const listings: Listing[] = Object.entries(tools).map(([slug, natives]) => listingOf(slug, natives));
  return assignNames({ listings, servers, assigned });
}

const exposed = (names: readonly GivenName[]): string[] => names.map((name) => name.exposed);

test('exposes a tool as server_tool, with underscores for other characters', () => {
  assert.deepEqual(exposed(nameAll({ 'git-hub': ['create.issue', 'list'] })), ['git_hub_create_issue', 'git_hub_list']);
});

test('truncates a long name to 48 characters with a distinguishing hash', () => {
  const [one, two] = exposed(nameAll({ s: [`${'x'.repeat(60)}1`, `${'x'.repeat(60)}2`] }));
  assert.equal(one?.length, 48);
  assert.notEqual(one, two);
  assert.equal(one?.slice(0, 41), two?.slice(0, 41));
});

test('distinguishes tools with other than ASCII letters by a short hash', () => {
  const names = exposed(nameAll({ korean: ['검색', '저장'] }));
  assert.equal(new Set(names).size, 2);
  for (const name of names) assert.match(name, /^korean_[0-9a-f]{6}$/);
});

test('gives two tools that would have the same name different ones, the plain one to the first', () => {
  assert.deepEqual(exposed(nameAll({ a: ['b_c'], a_b: ['c'] }))[0], 'a_b_c');
  assert.match(exposed(nameAll({ a: ['b_c'], a_b: ['c'] }))[1] ?? '', /^a_b_c_[0-9a-f]{6}$/);
});

test('frees the names of removed servers, and keeps those of removed tools', () => {
  const assigned = nameAll({ a: ['x', 'y'], b: ['z'] });
  assert.deepEqual(exposed(nameAll({ a: ['x'] }, assigned)), ['a_x', 'a_y']);
});

test('limits the names of a server whose tools change their names with each list', () => {
  let assigned: GivenName[] = [];
  for (let round = 0; round < 30; round += 1) {
    assigned = nameAll({ a: ['stays', ...Array.from({ length: 100 }, (_, i) => `t${round}x${i}`)] }, assigned);
  }
  assert.ok(assigned.length <= 1000 + 101, `${assigned.length}`);
  assert.equal(assigned[0]?.native, 'stays');
  assert.ok(assigned.some(({ native }) => native === 't28x5') && !assigned.some(({ native }) => native === 't0x5'));
});

test('replaces assigned names that are invalid or duplicate', () => {
  const names = nameAll({ a: ['x', 'y', 'z'] }, [
    { kind: 'tool', exposed: 'has space', server: 'a', native: 'x' },
    { kind: 'tool', exposed: 'same', server: 'a', native: 'y' },
    { kind: 'tool', exposed: 'same', server: 'a', native: 'z' },
  ]);
  assert.deepEqual(exposed(names), ['same', 'a_x', 'a_z']);
});

test('an older spelling and its normal form are equal', () => {
  assert.equal(normalName('docs.find'), normalName('docs_find'));
  assert.deepEqual(nameAliases('docs', 'find.it'), ['docs_find_it', 'find_it']);
});

test('for any servers in any order, names are valid and unique, and assigned ones never change', () => {
  const slug = fc.stringMatching(/^[A-Za-z0-9_-]{1,32}$/);
  const native = fc.oneof(fc.string({ minLength: 1, maxLength: 80 }), fc.stringMatching(/^[a-c._-]{1,3}$/));
  const world = fc.dictionary(
    fc.oneof(slug, fc.constantFrom('a', 'a_b', 'a-b')),
    fc.uniqueArray(native, { maxLength: 6 }),
    { maxKeys: 5, noNullPrototype: true },
  );
  fc.assert(
    fc.property(world, fc.infiniteStream(fc.nat(1000)), (tools, chance) => {
      const waiting = Object.keys(tools);
      // The property may be named `__proto__`.
      const present: Record<string, readonly string[]> = Object.create(null);
      let assigned: GivenName[] = [];
      while (waiting.length > 0) {
        const [next] = waiting.splice((chance.next().value ?? 0) % waiting.length, 1);
        if (next === undefined) break;
        present[next] = tools[next] ?? [];
        const names = nameAll(present, assigned);
        assert.deepEqual(names.slice(0, assigned.length), assigned);
        assigned = names;
      }
      assert.equal(assigned.length, Object.values(tools).flat().length);
      assert.equal(new Set(exposed(assigned)).size, assigned.length);
      for (const name of exposed(assigned)) assert.match(name, EXPOSED_NAME);
      assert.deepEqual(nameAll(present, assigned), assigned);
      assert.deepEqual(nameAll(tools), nameAll(tools));
    }),
    { numRuns: 300 },
  );
});
