import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { GivenName, Listing, ServerSpec } from '../model/snapshot.ts';
import { nameChange } from './exposed-names.ts';

const spec = (slug: string) => ({ slug, name: slug }) as ServerSpec;
const listing = (server: string, ...natives: string[]) =>
  ({
    server,
    atMs: 1,
    digest: natives.join(),
    tools: natives.map((native) => ({ native })),
    prompts: [],
  }) as unknown as Listing;
const name = (exposed: string, server: string, native: string): GivenName => ({
  kind: 'tool',
  exposed,
  server,
  native,
});

test('assigns names to new tools and keeps the others', () => {
  const assigned = [name('odd_name', 's', 'a')];
  const change = nameChange({ listings: [listing('s', 'a', 'b')], servers: [spec('s')], assigned });
  assert.deepEqual(change.add, [{ ...name('s_b', 's', 'b'), age: 1 }]);
  assert.deepEqual(change.assigned, [...assigned, ...change.add]);
  assert.deepEqual(change.drop, []);
});

test('keeps the names of a server that is not configured', () => {
  const assigned = [name('old_a', 'away', 'a')];
  const without = nameChange({ listings: [listing('s', 'x')], servers: [spec('s')], assigned });
  assert.deepEqual(without.assigned, [...assigned, { ...name('s_x', 's', 'x'), age: 1 }]);
  const servers = [spec('s'), spec('away')];
  const back = nameChange({ listings: [listing('away', 'a')], servers, assigned: without.assigned });
  assert.deepEqual([back.add, back.drop], [[], []]);
  assert.ok(back.assigned.some(({ exposed, native }) => exposed === 'old_a' && native === 'a'));
});

test('gives the name of a server that is not configured to a tool that needs it', () => {
  const assigned = [name('a_b_c', 'a_b', 'c')];
  const change = nameChange({ listings: [listing('a', 'b_c')], servers: [spec('a')], assigned });
  assert.deepEqual(change.assigned, [{ ...name('a_b_c', 'a', 'b_c'), age: 1 }]);
  assert.deepEqual(change.add, change.assigned);
});

test('deletes the oldest names of tools that a server no longer lists', () => {
  const assigned = Array.from({ length: 1003 }, (_, at) => name(`s_t${at}`, 's', `t${at}`));
  const change = nameChange({ listings: [listing('s')], servers: [spec('s')], assigned });
  assert.deepEqual(
    change.drop.map(({ exposed }) => exposed),
    ['s_t0', 's_t1', 's_t2'],
  );
  assert.equal(change.assigned.length, 1000);
});
