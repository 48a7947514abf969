/**
 * No object literal with accessors is made for a request: it would have a hidden class of its own.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { literalAccessors } from './_accessors.ts';
import { readTree, snippet } from './_tree.ts';

test('no object literal of downstream and call has accessors', () => {
  assert.deepEqual(
    readTree().flatMap((file) => literalAccessors(file)),
    [],
  );
});

test('the rule tells object literals from classes', () => {
  const found = (code: string): number => literalAccessors(snippet(`/** x */\n${code}`, 'downstream/a.ts')).length;
  for (const code of [
    'return { a, get b() { return 1; } };',
    'const a = { get b() { return 1; } };',
    'f({\n  b() {\n  },\n  set c(value) {\n  },\n});',
    'class A { b() { return { get c() { return 1; } }; } }',
  ])
    assert.equal(found(code), 1, code);
  for (const code of [
    'class A { b = 1; get c() { return 1; } }',
    'class A extends B implements C<D> {\n  e() {\n  }\n\n  get f(): number {\n    return 1;\n  }\n}',
    'const a = { get: 1 };',
    'b.get(a);',
    'interface A { get(b: string): void }',
  ])
    assert.equal(found(code), 0, code);
});
