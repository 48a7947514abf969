/**
 * Law 8: the data path waits for nothing but the upstream, the client’s socket and the named exceptions.
 * covers: L8
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readTree, snippet } from './_tree.ts';
import { forbiddenWaits } from './_waits.ts';

test('rooms of the data path wait only for what they may', () => {
  assert.deepEqual(readTree().flatMap(forbiddenWaits), []);
});

test('a wait that a room has no right to is seen', () => {
  const bad = [
    snippet('const key = await look();', 'auth/x.ts'),
    snippet('export async function f() {}', 'health/x.ts'),
    snippet('look().then(f);', 'admission/x.ts'),
    snippet("waits.for(p, { label: 'store', owner, deadline })", 'call/x.ts'),
    snippet("waits.open('dns', owner, deadline)", 'session/x.ts'),
  ];
  for (const file of bad) assert.equal(forbiddenWaits(file).length, 1, file.text);
  const fine = [
    snippet("waits.for(p, { label: 'first-catalog', owner, deadline })", 'call/x.ts'),
    snippet("waits.for(p, { label: 'store', owner, deadline })", 'control/x.ts'),
    snippet('// await nothing', 'auth/x.ts'),
  ];
  for (const file of fine) assert.deepEqual(forbiddenWaits(file), [], file.text);
});
