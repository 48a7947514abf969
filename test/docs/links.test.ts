/** Every relative link of every document leads to something, and so does every anchor. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { test } from 'node:test';
import { ROOT } from '../support/hub.ts';
import { anchorOf, DOCUMENTS, type Document, documentFrom, linksIn, readDocument } from './_documents.ts';

function deadLinks(document: Document): string[] {
  return linksIn(document).filter((link) => {
    if (/^[a-z]+:/.test(link)) return false;
    const [file = '', anchor] = link.split('#');
    const path = file === '' ? document.path : normalize(join(dirname(document.path), decodeURIComponent(file)));
    if (file !== '' && (path.startsWith('..') || !existsSync(join(ROOT, path)))) return true;
    if (anchor === undefined) return false;
    const target = file === '' ? document : readDocument(path);
    return !target.headings.some((heading) => heading.anchor === decodeURIComponent(anchor));
  });
}

for (const path of DOCUMENTS) {
  test(`links of ${path} lead somewhere`, () => {
    assert.deepEqual(deadLinks(readDocument(path)), []);
  });
}

test('a dead link and a dead anchor are seen', () => {
  const bad = '# A thing: yes\n[a](nowhere.md) [b](#gone) [c](README.md#gone) [d](../out.md)';
  assert.equal(deadLinks(documentFrom('x.md', bad)).length, 4);
  const fine = '# A thing: yes\n[a](README.md) [b](#a-thing-yes) [c](https://example.com/x) `[d](nowhere.md)`';
  assert.deepEqual(deadLinks(documentFrom('x.md', fine)), []);
  assert.equal(anchorOf('지금 되는 것과 아직 안 되는 것'), '지금-되는-것과-아직-안-되는-것');
});
