/**
 * The pieces of a JSON text together equal the text of JSON.stringify.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { jsonPieces } from './json-pieces.ts';

const VALUES: readonly unknown[] = [
  ...[null, 1, 'a"b', true, [], {}, [undefined, null, [1, [2, [3, [4, [5]]]]]]],
  ...[{ a: undefined, b: 1 }, { a: undefined }, { 'a"b': [{ c: { d: { e: { f: [undefined, { g: undefined }] } } } }] }],
  {
    listings: [{ tools: Array.from({ length: 3000 }, (_, at) => ({ native: `t${at}`, json: 'x'.repeat(100) })) }],
    names: [],
  },
  {
    t: 'word',
    inner: { rows: Array.from({ length: 3000 }, (_, at) => ({ native: `t${at}`, json: 'x'.repeat(100) })) },
  },
];

test('the pieces of a value together are its JSON text, and none is much longer than 128 KiB', () => {
  for (const value of VALUES) {
    const pieces = [...jsonPieces(value)];
    assert.equal(pieces.join(''), JSON.stringify(value));
    assert.ok(pieces.every(({ length }) => length < 140_000));
  }
  for (const large of VALUES.slice(-2)) assert.ok([...jsonPieces(large)].length > 2);
});
