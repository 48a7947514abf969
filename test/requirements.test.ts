/**
 * Every promise of the current step is cited by a test, and no test cites what was never promised.
 * Does not run with `npm run check`: it is red until the journeys are written, and prints what is missing.
 */
import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { CURRENT_STEP, REQUIREMENTS } from './requirements.ts';

const ROOT = fileURLToPath(new URL('../', import.meta.url));

interface Citation {
  readonly id: string;
  readonly path: string;
}

/**
 * Ids after `covers:` in a comment, and in brackets in a test's name. A `covers:` without a legal id is cited as it
 * stands.
 */
function citationsIn(text: string, path: string): Citation[] {
  const lists = [...text.matchAll(/^[ \t/*]*covers:[ \t]*(.*)$/gm)].map(([, list]) => list ?? '');
  const named = [...text.matchAll(/\b(?:test|it)\(\s*(['"`])(.*?)\1/g)].flatMap(([, , name]) =>
    [...(name ?? '').matchAll(/\[([A-Z]\d+(?:\s*,\s*[A-Z]\d+)*)\]/g)].map(([, list]) => list ?? ''),
  );
  return [...lists, ...named].flatMap((list) =>
    list
      .replace(/\*\/\s*$/, '')
      .replace(/\.\s*$/, '')
      .split(/[,\s]+/)
      .filter((id) => id !== '')
      .map((id) => ({ id, path })),
  );
}

function readCitations(): Citation[] {
  const paths = globSync(['src/**/*.test.ts', 'test/**/*.test.ts'], { cwd: ROOT });
  return paths
    .filter((path) => path !== 'test/requirements.test.ts')
    .flatMap((path) => citationsIn(readFileSync(ROOT + path, 'utf8'), path));
}

const citations = readCitations();

test('ids are unique, and every promise says where it comes from', () => {
  assert.equal(new Set(REQUIREMENTS.map(({ id }) => id)).size, REQUIREMENTS.length);
  for (const { id, sentence, source } of REQUIREMENTS) {
    assert.match(id, /^[A-Z]\d+$/);
    assert.ok(sentence.endsWith('.') && source !== '', id);
  }
});

test('no test cites a promise that does not exist', () => {
  const known = new Set(REQUIREMENTS.map(({ id }) => id));
  assert.deepEqual(
    citations.filter(({ id }) => !known.has(id)),
    [],
  );
});

test('every promise of this step is cited by a test', () => {
  const cited = new Set(citations.map(({ id }) => id));
  const missing = REQUIREMENTS.filter(({ id, step }) => step <= CURRENT_STEP && !cited.has(id));
  for (const { id, sentence, source } of missing) console.error(`not cited: ${id} (${source}) ${sentence}`);
  assert.deepEqual(
    missing.map(({ id }) => id),
    [],
  );
});

test('citations are read from comments and from names of tests', () => {
  const ids = (text: string): string[] => citationsIn(text, 'x').map(({ id }) => id);
  assert.deepEqual(ids('// covers: A3, P9'), ['A3', 'P9']);
  assert.deepEqual(ids('/**\n * covers: L1 L2.\n */'), ['L1', 'L2']);
  assert.deepEqual(ids("test('a thing holds [A3, B2]', () => {});"), ['A3', 'B2']);
  assert.deepEqual(ids('// covers: everything'), ['everything']);
  assert.deepEqual(ids('const a = [A3]; // it covers: much'), []);
});
