/**
 * Laws 2 and 4: state has a home, and what grows has a ceiling.
 * covers: L2, L4
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { idleExceptions, unforgiven } from './_exceptions.ts';
import { moduleState, unboundedContainers } from './_state.ts';
import { readTree, snippet } from './_tree.ts';

const tree = readTree();
const NO_STATE = 'no module has state of its own';
const found = tree.flatMap(moduleState);

test(NO_STATE, () => {
  assert.deepEqual(unforgiven(NO_STATE, found), []);
  assert.deepEqual(idleExceptions(new Map([[NO_STATE, found]])), []);
});

test('state of a module is seen', () => {
  const bad = [
    'let count = 0;',
    'export let current;',
    'var old = 1;',
    'const seen = new Map<string, number>();\nfunction f() { seen.set("a", 1); }',
    'const list = [];\nexport function f(x) { list.push(x); }',
    'const table: Record<string, number> = {};\nfunction f() { table[key] = 1; }',
    'const box = {\n  n: 0,\n};\nfunction f() { box.n += 1; }',
    'export const seen = new Map<string, number>();',
    'export const list = [1, 2];',
    'const hub = new Hub();',
    'const weak = new WeakMap();',
  ];
  for (const text of bad) assert.equal(moduleState(snippet(text)).length, 1, text);
  const fine = [
    'const TABLE: ReadonlyMap<string, number> = new Map([["a", 1]]);',
    'export const LIST: readonly string[] = ["a"];',
    'export const LIST = ["a"] as const;',
    'const NAMES = new Set(["a"]);\nconst has = NAMES.has("a");',
    'const PATTERN = new RegExp("a");',
    'export const ROWS = {\n  a: 1,\n} as const;',
    'function f() {\n  let n = 0;\n  const m = new Map();\n  m.set(n, 1);\n}',
    '// let x = 1;',
    'const text = `\nlet x = 1;\n`;',
  ];
  for (const text of fine) assert.deepEqual(moduleState(snippet(text)), [], text);
});

test('every bare container says what bounds it', () => {
  assert.deepEqual(tree.flatMap(unboundedContainers), []);
});

test('a container without a ceiling is seen', () => {
  const bad = [
    'class A {\n  readonly #calls = new Map<string, number>();\n}',
    'class A {\n  #list: string[] = [];\n}',
    'export class A {\n  private list: readonly string[] = [];\n}',
    'abstract class A {\n  readonly seen: Set<string>;\n}',
    'interface A {\n  readonly list: string[];\n}',
    'export interface A {\n  seen?: Set<string>;\n}',
    'export function createA() {\n  const calls = new Map();\n}',
    'export function openA() {\n  let list: readonly string[] = [];\n}',
  ];
  for (const text of bad) assert.equal(unboundedContainers(snippet(text)).length, 1, text);
  const fine = [
    'class A {\n  readonly #calls = new Map<string, number>(); // bounded by: max\n}',
    'class A {\n  // bounded by: the rooms\n  #list: string[] = [];\n}',
    'class A {\n  readonly #calls = new CappedMap<string, number>();\n}',
    'class A {\n  readonly list: readonly string[];\n  f(): string[] {\n    const out: string[] = [];\n    return out;\n  }\n}',
    'interface A {\n  readonly list: readonly string[];\n  f(list: string[]): string[];\n}',
    'export function sum() {\n  const parts = new Map();\n}',
    'export function createA() {\n  const fixed: readonly string[] = list();\n  const pair = [1, 2];\n}',
  ];
  for (const text of fine) assert.deepEqual(unboundedContainers(snippet(text)), [], text);
});
