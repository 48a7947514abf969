/**
 * Limits belong to the configuration that they came with: nothing writes them, and what applies at once is read at the
 * time of use. `src/config/limits.ts` says when each applies.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { changedLimits, keptLimits } from './_limits.ts';
import { readTree, snippet } from './_tree.ts';

/** Reads in a place that runs once, after which the value is followed all the same. */
const FOLLOWED: Readonly<Record<string, string>> = {
  'call/update-pace.ts updatesPerSecond': 'the first rate of a bucket; each update sets it again',
  'downstream/body.ts bodyMs': 'runs for each body',
  'downstream/refusal-trace.ts refusalLinesPerMinute': 'the first rate of a bucket; each refusal sets it again',
};

const tree = readTree();

test('nothing writes limits, and nothing copies them as a whole', () => {
  // It makes the objects, and reads plain ones.
  const others = tree.filter(({ path }) => path !== 'config/limits.ts');
  assert.deepEqual(others.flatMap(changedLimits), []);
});

test('a limit that applies at once is not kept by what is created once', () => {
  const found = new Set(tree.filter(({ room }) => room !== 'config').flatMap(keptLimits));
  assert.deepEqual(
    [...found].filter((one) => !Object.hasOwn(FOLLOWED, one)),
    [],
    'read it in a function: a container takes `() => limits.name` as its maximum',
  );
  assert.deepEqual(
    Object.keys(FOLLOWED).filter((one) => !found.has(one)),
    [],
  );
});

test('the rules see what they forbid', () => {
  for (const bad of [
    'limits.calls = 1',
    'this.#limits.calls += 1',
    'parts.limits[name] = 2',
    'Object.assign(this.#limits, more)',
    'delete parts.limits.calls',
    'const a = { ...limits, calls: 1 }',
    'f({ ...parts.limits })',
    'JSON.stringify(limits)',
  ])
    assert.equal(changedLimits(snippet(bad)).length, 1, bad);
  for (const fine of ['limits.calls === 1', 'f({ ...limits.x })', '() => limits.calls', 'const limits = { calls }'])
    assert.deepEqual(changedLimits(snippet(fine)), [], fine);
  for (const bad of [
    'function createA({ limits }: { limits: Limits }): { b(): void } { const most = limits.calls; return {}; }',
    'export function watchA(limits: Limits) { if (limits.calls > 1) f(); }',
    'class A { constructor(parts: P) { this.#most = new B(() => 1, parts.limits.calls); } }',
    'class A { constructor({ limits }: P) { const { calls, lanes: most } = limits; } }',
    'function createA() { return { inside: 2 * limits.calls, b() {} }; }',
  ])
    assert.ok(keptLimits(snippet(bad)).length > 0, bad);
  for (const fine of [
    'function createA() { const most = () => limits.calls; }',
    'function createA() { return { b() { return limits.calls; } }; }',
    'function createA() { function b(): void { f(limits.calls); } }',
    'function createA() { timers.every(1, () => { f(limits.calls); }); }',
    'class A { constructor(parts: P) { this.#a = new B(() => f(2, parts.limits.calls)); } }',
    'class A { constructor(parts: P) { this.#a = parts.limits.answerBytes; } }',
    'class A { b(): number { return this.#limits.calls; } }',
    'function f(limits: Limits) { return limits.calls; }',
  ])
    assert.deepEqual(keptLimits(snippet(fine)), [], fine);
});
