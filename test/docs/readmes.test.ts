/** README.md and README.ko.md say the same: same sections, same blocks, same tables, same links. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Document, inlineCodeIn, linksIn, readDocument } from './_documents.ts';

const en = readDocument('README.md');
const ko = readDocument('README.ko.md');

const rowsIn = ({ lines }: Document): string[] =>
  lines.filter((line) => line.startsWith('|')).map((line) => line.split('|')[1]?.trim() ?? '');
const isLocal = (link: string): boolean => !link.startsWith('#') && !/^README(\.ko)?\.md$/.test(link);

test('both have the same sections in the same order', () => {
  assert.deepEqual(
    ko.headings.map(({ level }) => level),
    en.headings.map(({ level }) => level),
  );
  assert.ok(en.headings.length > 8);
});

test('both have the same blocks with the same marks', () => {
  const facts = ({ blocks }: Document) => blocks.map(({ language, text, mark }) => ({ language, text, mark }));
  assert.deepEqual(facts(ko), facts(en));
});

test('both name the same commands, addresses, variables and documents', () => {
  const code = (document: Document) =>
    [...new Set(inlineCodeIn(document))].filter((text) => /^[\x20-\x7e]+$/.test(text)).sort();
  assert.deepEqual(code(ko), code(en));
  assert.deepEqual(linksIn(ko).filter(isLocal).sort(), linksIn(en).filter(isLocal).sort());
  // First columns: commands, addresses and file names are not translated.
  const rows = (document: Document) => rowsIn(document).filter((cell) => cell.includes('`') || cell.includes(']('));
  assert.deepEqual(rows(ko), rows(en));
});

test('each section has as many points in both', () => {
  const points = ({ lines }: Document) => lines.filter((line) => line.startsWith('- ')).length;
  assert.equal(points(ko), points(en));
});

test('the Korean one is in Korean, and each leads to the other', () => {
  const hangul = [...ko.text].filter((letter) => /\p{Script=Hangul}/u.test(letter)).length;
  assert.ok(hangul > 1000, `${hangul} letters`);
  assert.ok(linksIn(en).includes('README.ko.md') && linksIn(ko).includes('README.md'));
});
