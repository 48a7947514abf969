import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { GivenName, Listing, ServerSpec } from '../kernel/snapshot.ts';
import { changeOfNames } from './exposed-names.ts';

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

test('new tools get names, old ones keep theirs', () => {
  const given = [name('odd_name', 's', 'a')];
  const change = changeOfNames({ listings: [listing('s', 'a', 'b')], servers: [spec('s')], given });
  assert.deepEqual(change.add, [{ ...name('s_b', 's', 'b'), age: 1 }]);
  assert.deepEqual(change.given, [...given, ...change.add]);
  assert.deepEqual(change.drop, []);
});

test('a server that is away keeps its names until it is back', () => {
  const given = [name('old_a', 'away', 'a')];
  const without = changeOfNames({ listings: [listing('s', 'x')], servers: [spec('s')], given });
  assert.deepEqual(without.given, [...given, { ...name('s_x', 's', 'x'), age: 1 }]);
  const servers = [spec('s'), spec('away')];
  const back = changeOfNames({ listings: [listing('away', 'a')], servers, given: without.given });
  assert.deepEqual([back.add, back.drop], [[], []]);
  assert.ok(back.given.some(({ exposed, native }) => exposed === 'old_a' && native === 'a'));
});

test('the name of a server that is away goes to a tool that is here', () => {
  const given = [name('a_b_c', 'a_b', 'c')];
  const change = changeOfNames({ listings: [listing('a', 'b_c')], servers: [spec('a')], given });
  assert.deepEqual(change.given, [{ ...name('a_b_c', 'a', 'b_c'), age: 1 }]);
  assert.deepEqual(change.add, change.given);
});

test('of tools that a server no longer lists, the names given longest ago are let go', () => {
  const given = Array.from({ length: 1003 }, (_, at) => name(`s_t${at}`, 's', `t${at}`));
  const change = changeOfNames({ listings: [listing('s')], servers: [spec('s')], given });
  assert.deepEqual(
    change.drop.map(({ exposed }) => exposed),
    ['s_t0', 's_t1', 's_t2'],
  );
  assert.equal(change.given.length, 1000);
});
