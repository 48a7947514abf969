import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { ROOT } from '../support/hub.ts';
import { FINDINGS } from './findings.ts';

/** Ids after `finding:` in a comment, with the file that names them. */
function cited(): Map<string, string[]> {
  const found = new Map<string, string[]>();
  for (const file of globSync(['src/**/*.test.ts', 'test/**/*.test.ts'], { cwd: ROOT }))
    for (const [, list = ''] of readFileSync(join(ROOT, file), 'utf8').matchAll(/^\s*\/\/ finding:[ \t]*(.*)$/gm))
      for (const id of list.split(',')) found.set(id.trim(), [...(found.get(id.trim()) ?? []), file]);
  return found;
}

test('every finding of the security review has a test, and every test names a finding that exists', () => {
  const tests = cited();
  assert.deepEqual(
    Object.keys(FINDINGS).filter((id) => !tests.has(id)),
    [],
    'findings without a test',
  );
  assert.deepEqual(
    [...tests.keys()].filter((id) => FINDINGS[id] === undefined),
    [],
    'findings that do not exist',
  );
});
