/** The table "Finding things" of ARCHITECTURE.md is true to the code. */
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { ROOT } from '../support/hub.ts';
import { readDocument } from './_documents.ts';

const MIN_ROWS = 40;
const ROW = /^\| (.+) \| `([\w/.-]+)` \| `([^`]+)` \|$/;

const { lines } = readDocument('ARCHITECTURE.md');
const from = lines.findIndex((line) => line.startsWith('| where is … |'));
const rows = lines.slice(from + 2, lines.indexOf('', from));

test(`there are at least ${MIN_ROWS} behaviours, each in the form of the table`, () => {
  assert.ok(from >= 0, 'the table');
  assert.ok(rows.length >= MIN_ROWS, `${rows.length} rows`);
  assert.deepEqual(
    rows.filter((row) => !ROW.test(row)),
    [],
  );
});

test('the file of each behaviour exists and contains its word', () => {
  const wrong = rows.filter((row) => {
    const [, , path = '', word = ''] = ROW.exec(row) ?? [];
    const file = join(ROOT, 'src', path);
    return !existsSync(file) || !readFileSync(file, 'utf8').includes(word);
  });
  assert.deepEqual(wrong, []);
});
