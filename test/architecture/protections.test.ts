/**
 * Protections that `npm run chaos -- --prove` takes away are still in the code, once, and the tests that must notice
 * exist.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { PROTECTIONS } from '../../scripts/chaos/protections.ts';
import { ROOT } from './_tree.ts';

const textOf = (path: string): string => readFileSync(join(ROOT, path), 'utf8');

test('the code of each protection stands exactly once in its file', () => {
  const wrong = PROTECTIONS.map(
    ({ row, file, find }) => `${row} ${file}: ${textOf(file).split(find).length - 1} times`,
  );
  assert.deepEqual(
    wrong.filter((line) => !line.endsWith(': 1 times')),
    [],
  );
});

test('the test of each protection has a title that its pattern finds', () => {
  const wrong = PROTECTIONS.filter(({ test: path, name }) => !new RegExp(name).test(textOf(path)));
  assert.deepEqual(
    wrong.map(({ row, test: path, name }) => `${row} ${path}: ${name}`),
    [],
  );
});
