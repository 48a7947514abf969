import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { ROOT } from '../support/hub.ts';
import { CASES } from './catalogue.ts';

/** Ids after `case:` in the comments of tests. */
function citedCases(): Set<string> {
  const cited = new Set<string>();
  for (const file of globSync(['src/**/*.test.ts', 'test/**/*.test.ts'], { cwd: ROOT }))
    for (const [, list = ''] of readFileSync(join(ROOT, file), 'utf8').matchAll(/^\s*\/\/ case:[ \t]*(.*)$/gm))
      for (const id of list.split(',')) cited.add(id.trim());
  return cited;
}

const cited = citedCases();

test('every case has a test, and every test names a case that exists', (t) => {
  const rows = Object.entries(CASES);
  const pending = rows.filter(([, row]) => row.pending).map(([id]) => id);
  t.diagnostic(`pending: ${pending.length} (${pending.join(', ') || 'none'})`);
  const untested = rows.filter(([id, row]) => !row.pending && !cited.has(id)).map(([id]) => id);
  assert.deepEqual(untested, [], 'cases without a test');
  assert.deepEqual(
    [...cited].filter((id) => CASES[id] === undefined),
    [],
    'cases that do not exist',
  );
});
