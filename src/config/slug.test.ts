/** Short names. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { slugFrom } from './slug.ts';

test('a legal name stays as it is', () => {
  for (const name of ['github', 'My_Server-2', 'A']) assert.equal(slugFrom(name), name);
});

test('spaces and signs become dashes, accents go', () => {
  assert.equal(slugFrom('my server'), 'my-server');
  assert.equal(slugFrom('@upstash/context7-mcp'), 'upstash-context7-mcp');
  assert.equal(slugFrom('Café.'), 'Cafe');
});

test('names in other letters get a hash of their own', () => {
  assert.match(slugFrom('깃허브'), /^s-[0-9a-f]{6}$/);
  assert.notEqual(slugFrom('깃허브'), slugFrom('검색'));
  assert.match(slugFrom('github 사내'), /^github-[0-9a-f]{6}$/);
  assert.notEqual(slugFrom('github 사내'), slugFrom('github 검색'));
});

test('long names are cut and told apart', () => {
  const one = slugFrom(`${'a'.repeat(40)}1`);
  assert.equal(one.length, 32);
  assert.notEqual(one, slugFrom(`${'a'.repeat(40)}2`));
});

test('every name has a legal short form that is always the same', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', minLength: 1 }), (name) => {
      const slug = slugFrom(name);
      return /^[A-Za-z0-9_-]{1,32}$/.test(slug) && slugFrom(name) === slug && slugFrom(slug) === slug;
    }),
  );
});
