/**
 * Every failure of the catalogue that is due at the current step is proven by a test, and the test says which code it
 * guards.
 * Does not: judge the proof; `npm run chaos -- --prove` takes protections away and looks whether their tests turn red.
 */
import assert from 'node:assert/strict';
import { existsSync, globSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { FAILURES } from './failures.ts';
import { CURRENT_STEP } from './requirements.ts';

const ROOT = fileURLToPath(new URL('../', import.meta.url));
const ROW = /^\s*\/\/ row ([A-G]\d+(?:, [A-G]\d+)*) · guards (\S+(?:, \S+)*)$/;

interface Proof {
  readonly ids: readonly string[];
  readonly guards: readonly string[];
  readonly at: string;
}

/**
 * Well-formed lines that stand above a test (further comments may stand between), and what looks like one and is none.
 */
function proofsIn(text: string, path: string): { proofs: Proof[]; wrong: string[] } {
  const lines = text.split('\n');
  const proofs: Proof[] = [];
  const wrong: string[] = [];
  for (const [index, line] of lines.entries()) {
    if (!/^\s*\/\/ row [A-G]\d/.test(line)) continue;
    const at = `${path}:${index + 1}`;
    const [, ids, guards] = ROW.exec(line) ?? [];
    const next = lines.slice(index + 1).find((after) => !/^\s*(\/\/|\/\*\*|\*)/.test(after)) ?? '';
    if (ids === undefined || guards === undefined) wrong.push(`${at}: ${line.trim()}`);
    else if (!/^\s*(await )?(test|it|t\.test|for) ?\(/.test(next)) wrong.push(`${at}: no test follows`);
    else proofs.push({ ids: ids.split(', '), guards: guards.split(', '), at });
  }
  return { proofs, wrong };
}

const found = globSync(['src/**/*.test.ts', 'test/**/*.test.ts'], { cwd: ROOT })
  .filter((path) => path !== 'test/failures.test.ts')
  .map((path) => proofsIn(readFileSync(ROOT + path, 'utf8'), path));
const proofs = found.flatMap((one) => one.proofs);

test('each line that names a row is well formed and stands above a test', () => {
  assert.deepEqual(
    found.flatMap((one) => one.wrong),
    [],
  );
});

test('each row that is named is in the catalogue, and each file that is guarded exists', () => {
  const known = new Set(FAILURES.map(({ id }) => id));
  assert.equal(known.size, FAILURES.length);
  for (const { ids, guards, at } of proofs) {
    for (const id of ids) assert.ok(known.has(id), `${at}: ${id}`);
    for (const path of guards) assert.ok(existsSync(ROOT + path), `${at}: ${path} is not there`);
  }
});

test('every failure that is due is proven', () => {
  const proven = new Set(proofs.flatMap(({ ids }) => ids));
  const missing = FAILURES.filter(({ id, step }) => step <= CURRENT_STEP && !proven.has(id));
  assert.deepEqual(
    missing.map(({ id, sentence }) => `${id} ${sentence}`),
    [],
  );
});

test('a line above nothing, and a half one, are found', () => {
  const wrong = (text: string): number => proofsIn(text, 'x').wrong.length;
  assert.equal(wrong("// row A1, B2 · guards src/a.ts, src/b.ts\ntest('x', () => {});"), 0);
  assert.equal(wrong("// row A1 · guards src/a.ts\n// It is so because.\ntest('x', () => {});"), 0);
  assert.equal(wrong('// row A1 · guards src/a.ts\nconst x = 1;'), 1);
  assert.equal(wrong("// row A1 guards src/a.ts\ntest('x', () => {});"), 1);
});
