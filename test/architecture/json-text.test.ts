/**
 * JSON that goes into messages is written by `protocol/json-text.ts`: `JSON.stringify` writes a text that was cut
 * between the halves of a surrogate pair in a way that strict clients refuse.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readTree, type SourceFile, sourceFile } from './_tree.ts';

const MODULES: ReadonlySet<string> = new Set(['call', 'protocol', 'upstream']);
const BYTES = /Buffer\.from\(\s*JSON\.stringify\(/;

function faultsIn(files: readonly SourceFile[]): string[] {
  return files.flatMap(({ room, path, code }) =>
    MODULES.has(room) && BYTES.test(code) ? [`${path} makes bytes of JSON.stringify; use jsonBytes`] : [],
  );
}

test('JSON of messages is written without lone surrogates', () => {
  assert.deepEqual(faultsIn(readTree()), []);
});

test('bytes made of JSON.stringify are seen', () => {
  const at = (path: string) => sourceFile(path, 'const frame = Buffer.from(\n  JSON.stringify({ a: 1 }),\n);');
  assert.equal(faultsIn([at('upstream/a.ts'), at('telemetry/b.ts')]).length, 1);
});
