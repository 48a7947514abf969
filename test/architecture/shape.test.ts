/**
 * Laws 1, 3 and 6 as far as a pattern can see them, and the habits of files.
 * covers: L1, L3, L6
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { idleExceptions, unforgiven } from './_exceptions.ts';
import { RULES } from './_shape.ts';
import { ROOT, readTree, snippet } from './_tree.ts';

const tree = readTree();

const NAMES: ReadonlySet<string> = new Set(RULES.map((rule) => rule.name));
const found = new Map(
  [...NAMES].map((name) => [
    name,
    tree.flatMap((file) => RULES.filter((rule) => rule.name === name).flatMap((rule) => rule.find(file))),
  ]),
);

for (const [name, findings] of found) {
  test(name, () => {
    assert.deepEqual(unforgiven(name, findings), []);
  });
}

test('every exception still forgives something', () => {
  assert.deepEqual(idleExceptions(found), []);
});

/** Bad and good snippets for each rule; each begins with a header unless that is what is wrong. */
const SAMPLES: Readonly<Record<string, { readonly bad: readonly string[]; readonly fine: readonly string[] }>> = {
  'a file begins with a comment that says what it is for': {
    bad: ['const a = 1;', '// short\n'],
    fine: ['/** x */', '#!/usr/bin/env node\n/** x */'],
  },
  'a file has at most 300 lines': { bad: ['x\n'.repeat(301)], fine: ['x\n'.repeat(300)] },
  'only cli and telemetry print': {
    bad: ['console.log(1)', 'process.stdout.write(x)', 'process.stderr.isTTY'],
    fine: ['const console_ = 1', '"console.log"', 'child.process.stdout', 'this.#process.stderr'],
  },
  'the command prints through output.ts': {
    bad: ['/** x */ console.log(1)', '/** x */ process.stdout.write(x)', '/** x */ process.stderr.write(x)'],
    fine: ['/** x */ print(x)', '/** x */ process.stdout.isTTY'],
  },
  'no any': {
    bad: ['let a: any;', 'f(x as any)', 'Map<string, any>', 'x: any[]', 'type A<T extends any> = T'],
    fine: ['const any = 1', 'a: anything', '// any', 'x.any()', 'f(many)'],
  },
  'no default export': { bad: ['export default 1'], fine: ['export const defaults = 1'] },
  'no spread of a literal': {
    bad: ['f({ ...{ a, b }, c })', 'const x = { ...{\n a } };'],
    fine: ['f({ ...parts, a })', 'f({ ...(a ? { a } : {}) })', 'f(...list)'],
  },
  'no barrel': { bad: ["export * from './a.ts'"], fine: ["export { a } from './a.ts'"] },
  'no compiler checks switched off': { bad: ['// @ts-ignore', '// @ts-expect-error x'], fine: ['// ts'] },
  'no time limit of 0 or for ever': {
    bad: [
      '{ timeout: 0 }',
      'server.requestTimeout = 0',
      'const waitMs = Infinity',
      'x.headersTimeout = 0;',
      'socket.setTimeout(0)',
      'limit.silenceMs ?? 0',
      '{ bodyTimeout: 0, }',
    ],
    fine: ['{ timeout: 5 }', 'if (waitMs === 0) f()', 'timeoutMs >= 0', '{ ratioMs: 0.5 }'],
  },
  'no race instead of a wait': { bad: ['await Promise.race([a, b])'], fine: ['await Promise.all([a])'] },
  'faults are HubErrors': {
    bad: ['throw new Error("x")', 'throw new TypeError("x")'],
    fine: ["throw new HubError('internal')", 'throw fault'],
  },
  'no decision by the text of a message': {
    bad: ["if (e.message.includes('x')) f()", "e.message === 'x'"],
    fine: ['log(e.message)', "e.code === 'x'"],
  },
  'no file called manager, helper, util, data or info': { bad: [], fine: ['x'] },
};

test('each rule sees what it forbids', () => {
  for (const name of NAMES) {
    const rules = RULES.filter((rule) => rule.name === name);
    const sample = SAMPLES[name];
    assert.ok(sample, name);
    const hits = (text: string, path?: string): number =>
      rules.flatMap((rule) => rule.find(snippet(text, path))).length;
    for (const text of sample.bad) assert.ok(hits(text) > 0, `${name}: ${text}`);
    for (const text of sample.fine) assert.equal(hits(text), 0, `${name}: ${text}`);
    if (sample.bad.length === 0) assert.ok(hits('', 'call/string-utils.ts') > 0 && hits('', 'call/helper.ts') > 0);
  }
});

test('an exception forgives its own rule and file only', () => {
  const exceptions = [{ rule: 'r', path: 'a/b.ts', why: 'it must' }];
  assert.deepEqual(unforgiven('r', ['a/b.ts:3 x', 'a/b.tsx:1 y', 'c.ts has'], exceptions), ['a/b.tsx:1 y', 'c.ts has']);
  assert.deepEqual(unforgiven('other', ['a/b.ts:3 x'], exceptions), ['a/b.ts:3 x']);
  assert.equal(idleExceptions(new Map([['r', ['c.ts has']]]), exceptions).length, 1);
  assert.equal(idleExceptions(new Map([['r', ['a/b.ts has']]]), exceptions).length, 0);
});

test('the linter refuses floating promises, and looks at all code', () => {
  const biome = JSON.parse(readFileSync(`${ROOT}biome.json`, 'utf8')) as {
    files: { includes: string[] };
    linter: { rules: Record<string, Record<string, unknown>> };
  };
  const rules = Object.assign(
    {},
    ...Object.values(biome.linter.rules).filter((group) => typeof group === 'object'),
  ) as Record<string, unknown>;
  for (const rule of ['noFloatingPromises', 'noMisusedPromises', 'noExplicitAny', 'noConsole'])
    assert.equal(rules[rule], 'error', rule);
  for (const part of ['src/**', 'test/**', 'bench/**', 'scripts/**'])
    assert.ok(biome.files.includes.includes(part), part);
});
