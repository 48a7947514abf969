/** Every dependency has its reason in ADR 0005, and no reason stands there for what is not installed. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { ROOT } from '../support/hub.ts';
import { DOCUMENTS, type Document, documentFrom, readDocument } from './_documents.ts';

interface Manifest {
  readonly dependencies: Readonly<Record<string, string>>;
  readonly devDependencies: Readonly<Record<string, string>>;
}

/** Packages in the first column under a heading; `-filesystem` after `…/server-everything` is `…/server-filesystem`. */
function reasonsUnder(document: Document, heading: string): string[] {
  const at = document.lines.indexOf(`## ${heading}`);
  assert.ok(at >= 0, heading);
  const end = document.lines.findIndex((line, index) => index > at && line.startsWith('## '));
  return document.lines.slice(at, end < 0 ? undefined : end).flatMap((line) => {
    const [, cell = '', why = ''] = line.split('|');
    const names = [...cell.matchAll(/`([^`]+)`/g)].map(([, name]) => name ?? '');
    if (names.length > 0) assert.ok(why.trim().length > 10, `${names}: a reason`);
    const stem = names[0]?.replace(/-[^-]*$/, '') ?? '';
    return names.map((name) => (name.startsWith('-') ? `${stem}${name}` : name));
  });
}

test('every dependency of package.json has its line in ADR 0005, and the other way round', () => {
  const adr = readDocument('docs/adr/0005-dependencies.md');
  const manifest: Manifest = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
  assert.deepEqual(reasonsUnder(adr, 'At run time').sort(), Object.keys(manifest.dependencies).sort());
  assert.deepEqual(reasonsUnder(adr, 'For development').sort(), Object.keys(manifest.devDependencies).sort());
});

test('decisions are numbered without a gap, and each has a status', () => {
  const decisions = DOCUMENTS.filter((path) => path.startsWith('docs/adr/')).map(readDocument);
  assert.deepEqual(
    decisions.map(({ path }) => Number(/\/(\d{4})-/.exec(path)?.[1])),
    decisions.map((_, at) => at + 1),
  );
  for (const { path, text } of decisions) assert.match(text, /^\*\*Status:\*\* \w+/m, path);
});

test('a short form is read as the package that it means', () => {
  const text =
    '## A\n| package | reason |\n| --- | --- |\n| `@s/server-one`, `-two`, `-far-off` | because it is needed |\n';
  assert.deepEqual(reasonsUnder(documentFrom('x.md', text), 'A'), [
    '@s/server-one',
    '@s/server-two',
    '@s/server-far-off',
  ]);
});
