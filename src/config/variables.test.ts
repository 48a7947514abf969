/** Variables in texts. */
// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the notation of the file is meant
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { expandVariables } from './variables.ts';

const ENV = { A: 'one', EMPTY: '', NESTED: '${A}' };

function textOf(text: string): string {
  return expandVariables(text, ENV).text;
}

test('the three forms are put in, several in one text', () => {
  assert.equal(textOf('x ${A} ${env:A} ${B:-two} y'), 'x one one two y');
  assert.equal(textOf('${env:B:-two}'), 'two');
  assert.equal(textOf('${B:-}'), '');
});

test('an empty variable takes the default, and is empty without one', () => {
  assert.equal(textOf('${EMPTY:-d}'), 'd');
  assert.equal(textOf('[${EMPTY}]'), '[]');
});

test('what a variable holds is not read again', () => {
  assert.equal(textOf('${NESTED}'), '${A}');
});

test('a doubled dollar is a plain one, and a lone dollar stays', () => {
  assert.equal(textOf('$${A} costs $5 $A'), '${A} costs $5 $A');
  assert.equal(textOf('$$${A}'), '$${A}');
});

test('missing variables are named and left as written', () => {
  assert.deepEqual(expandVariables('${B}/${C}', ENV), {
    text: '${B}/${C}',
    missing: ['B', 'C'],
    inserted: [],
    malformed: false,
  });
  assert.deepEqual(expandVariables('${toString}', ENV).missing, ['toString']);
});

test('kept variables stay, also with a default', () => {
  const kept = new Set(['PORT']);
  const expanded = expandVariables('${PORT}:${PORT:-1}:${env:PORT}:${A}', { ...ENV, PORT: '3000' }, kept);
  assert.equal(expanded.text, '${PORT}:${PORT}:${PORT}:one');
  assert.deepEqual(expanded.missing, []);
});

test('what begins no variable is said to be malformed', () => {
  for (const text of ['${', '${}', '${1}', '${a b}', '${input:token}', 'x ${A']) {
    assert.equal(expandVariables(text, ENV).malformed, true, text);
  }
});

test('a text without a dollar is untouched, and none throws', () => {
  fc.assert(
    fc.property(fc.string({ unit: fc.constantFrom('$', '{', '}', ':', '-', 'A', 'env:', 'x') }), (text) => {
      const { text: out } = expandVariables(text, ENV);
      return text.includes('$') || out === text;
    }),
  );
});

test('a long text of openings is read in a straight line', () => {
  const started = performance.now();
  expandVariables('${'.repeat(200_000), ENV);
  assert.ok(performance.now() - started < 1000);
});
