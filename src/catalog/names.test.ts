/**
 * Names are legal, unique, and once given stay.
 * covers: B13
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { listingOf, serverSpec } from '../../test/support/catalog-worlds.ts';
import type { GivenName, Listing, ServerSpec } from '../kernel/snapshot.ts';
import { EXPOSED_NAME, giveNames, nameAliases, normalName } from './names.ts';

function nameAll(tools: Readonly<Record<string, readonly string[]>>, given: readonly GivenName[] = []): GivenName[] {
  const servers: ServerSpec[] = Object.keys(tools).map((slug) => serverSpec(slug));
  const listings: Listing[] = Object.entries(tools).map(([slug, natives]) => listingOf(slug, natives));
  return giveNames({ listings, servers, given });
}

const exposed = (names: readonly GivenName[]): string[] => names.map((name) => name.exposed);

test('a plain tool is server_tool, and other characters become underscores', () => {
  assert.deepEqual(exposed(nameAll({ 'git-hub': ['create.issue', 'list'] })), ['git_hub_create_issue', 'git_hub_list']);
});

test('a long name is cut to 48 with a hash that tells it from its neighbours', () => {
  const [one, two] = exposed(nameAll({ s: [`${'x'.repeat(60)}1`, `${'x'.repeat(60)}2`] }));
  assert.equal(one?.length, 48);
  assert.notEqual(one, two);
  assert.equal(one?.slice(0, 41), two?.slice(0, 41));
});

test('tools in other letters are told apart by a short hash', () => {
  const names = exposed(nameAll({ korean: ['검색', '저장'] }));
  assert.equal(new Set(names).size, 2);
  for (const name of names) assert.match(name, /^korean_[0-9a-f]{6}$/);
});

test('two tools that would get the same name both get one, the first the plain one', () => {
  assert.deepEqual(exposed(nameAll({ a: ['b_c'], a_b: ['c'] }))[0], 'a_b_c');
  assert.match(exposed(nameAll({ a: ['b_c'], a_b: ['c'] }))[1] ?? '', /^a_b_c_[0-9a-f]{6}$/);
});

test('the names of a server that is gone are free again; of a tool that is gone they are kept', () => {
  const given = nameAll({ a: ['x', 'y'], b: ['z'] });
  assert.deepEqual(exposed(nameAll({ a: ['x'] }, given)), ['a_x', 'a_y']);
});

test('a server whose tools change name at each list does not grow the names without end', () => {
  let given: GivenName[] = [];
  for (let round = 0; round < 30; round += 1) {
    given = nameAll({ a: ['stays', ...Array.from({ length: 100 }, (_, i) => `t${round}x${i}`)] }, given);
  }
  assert.ok(given.length <= 1000 + 101, `${given.length}`);
  assert.equal(given[0]?.native, 'stays');
  assert.ok(given.some(({ native }) => native === 't28x5') && !given.some(({ native }) => native === 't0x5'));
});

test('given names that are illegal or doubled are given anew', () => {
  const names = nameAll({ a: ['x', 'y', 'z'] }, [
    { kind: 'tool', exposed: 'has space', server: 'a', native: 'x' },
    { kind: 'tool', exposed: 'same', server: 'a', native: 'y' },
    { kind: 'tool', exposed: 'same', server: 'a', native: 'z' },
  ]);
  assert.deepEqual(exposed(names), ['same', 'a_x', 'a_z']);
});

test('a legacy spelling and its normal form meet', () => {
  assert.equal(normalName('docs.find'), normalName('docs_find'));
  assert.deepEqual(nameAliases('docs', 'find.it'), ['docs_find_it', 'find_it']);
});

test('whatever servers come in whatever order, names are legal and unique, and none given before changes', () => {
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
      // The property may be called `__proto__`.
      const present: Record<string, readonly string[]> = Object.create(null);
      let given: GivenName[] = [];
      while (waiting.length > 0) {
        const [next] = waiting.splice((chance.next().value ?? 0) % waiting.length, 1);
        if (next === undefined) break;
        present[next] = tools[next] ?? [];
        const names = nameAll(present, given);
        assert.deepEqual(names.slice(0, given.length), given);
        given = names;
      }
      assert.equal(given.length, Object.values(tools).flat().length);
      assert.equal(new Set(exposed(given)).size, given.length);
      for (const name of exposed(given)) assert.match(name, EXPOSED_NAME);
      assert.deepEqual(nameAll(present, given), given);
      assert.deepEqual(nameAll(tools), nameAll(tools));
    }),
    { numRuns: 300 },
  );
});
