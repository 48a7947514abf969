/**
 * Lengths of functions: at most 60 lines. The files that still have longer ones are listed with their longest; a figure
 * may only fall, and a row that nothing needs any more fails.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { functionsOf } from './_functions.ts';
import { readTree } from './_tree.ts';

const MAX_LINES = 60;

/** Lines of the longest function of a file. */
const LONGEST: ReadonlyMap<string, number> = new Map([['protocol/_ahead.ts', 62]]);

const longest = new Map(
  readTree().map((file) => [file.path, Math.max(0, ...functionsOf(file.bare).map(({ lines }) => lines))]),
);

test('a function has at most 60 lines, and the listed ones do not grow', () => {
  const long = [...longest].filter(([path, lines]) => lines > (LONGEST.get(path) ?? MAX_LINES));
  assert.deepEqual(long, []);
});

test('every listed file still has such a function', () => {
  const idle = [...LONGEST].filter(([path]) => (longest.get(path) ?? 0) <= MAX_LINES);
  assert.deepEqual(idle, []);
});

test('sees declarations, methods and arrow functions, and no other blocks', () => {
  const body = '\n'.repeat(70);
  for (const bad of [
    `function f(a: A): B {${body}}`,
    `const f = (a) => {${body}}`,
    `class A { #m(a = g()): Promise<void> {${body}} }`,
    `class A { get x(): { a: 1 } {${body}} }`,
  ])
    assert.ok(
      functionsOf(bad).some(({ lines }) => lines > MAX_LINES),
      bad,
    );
  for (const fine of [`class A {${body}}`, `if (a(b)) {${body}}`, `const a = {${body}};`, `f(); class B {${body}}`])
    assert.ok(
      functionsOf(fine).every(({ lines }) => lines <= MAX_LINES),
      fine,
    );
});
