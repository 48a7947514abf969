/**
 * Compares matching with a (slow) regular expression of the rule, and measures its worst case.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { compileTemplate, matchesTemplate } from './_uri-template.ts';

function fits(template: string, uri: string): boolean {
  const compiled = compileTemplate(template);
  return compiled !== undefined && matchesTemplate(compiled, uri);
}

test('an expression matches one or more characters, and a slash only where allowed', () => {
  assert.equal(fits('file:///{name}', 'file:///a'), true);
  assert.equal(fits('file:///{name}', 'file:///'), false);
  assert.equal(fits('file:///{name}', 'file:///a/b'), false);
  for (const operator of ['+', '/', '#']) assert.equal(fits(`file:///{${operator}path}`, 'file:///a/b.txt'), true);
  assert.equal(fits('db://{table}/{id}', 'db://users/7'), true);
  assert.equal(fits('db://{table}/{id}', 'db://users/7/x'), false);
  assert.equal(fits('a://{x}{y}', 'a://1'), false);
  assert.equal(fits('a://{x}{y}', 'a://12'), true);
  assert.equal(fits('a://b', 'a://b'), true);
  assert.equal(fits('a://b', 'a://bc'), false);
  assert.equal(fits('', ''), true);
});

test('only query expressions may match nothing', () => {
  assert.equal(fits('s://find{?q,n}', 's://find?q=x&n=2'), true);
  assert.equal(fits('s://find{?q,n}', 's://find'), true);
  assert.equal(fits('s://find?a=1{&q}', 's://find?a=1'), true);
  assert.equal(fits('s://find{;q}', 's://find'), false);
});

test('finds literals that repeat their own beginning', () => {
  assert.equal(fits('{x}aab', 'aaaab'), true);
  assert.equal(fits('{x}abab{y}', 'zababab'), true);
  assert.equal(fits('{x}aa{y}aa', 'aaaaaa'), true);
  assert.equal(fits('{x}aa{y}aa', 'aaaaa'), false);
});

test('a template with unbalanced braces or too many expressions matches nothing', () => {
  for (const broken of ['a{', 'a}', '{}', 'a{b{c}}', '}{', 'a{b', '{a'.repeat(3)])
    assert.equal(compileTemplate(broken), undefined, broken);
  assert.notEqual(compileTemplate('{a}'.repeat(16)), undefined);
  assert.equal(compileTemplate('{a}'.repeat(17)), undefined);
});

test('for any templates and URIs, the result equals that of the rule', () => {
  const text = fc.stringMatching(/^[ab/.]{0,3}$/);
  const gap = fc.constantFrom('{x}', '{+x}', '{/x}', '{#x}', '{?x}', '{.x}');
  const pieces = fc.array(fc.oneof(text, gap), { maxLength: 6 });
  fc.assert(
    fc.property(pieces, fc.stringMatching(/^[ab/.]{0,10}$/), (parts, uri) => {
      const template = parts.join('');
      assert.equal(fits(template, uri), ruleOf(parts).test(uri), `${template} and ${uri}`);
    }),
    { numRuns: 5000 },
  );
});

function ruleOf(parts: readonly string[]): RegExp {
  const source = parts.map((part) => {
    if (!part.startsWith('{')) return part.replaceAll('.', '\\.');
    if ('+/#'.includes(part.charAt(1))) return '.+';
    return part.charAt(1) === '?' ? '[^/]*' : '[^/]+';
  });
  return new RegExp(`^${source.join('')}$`);
}

test('a URI expanded from a template matches it', () => {
  const literal = fc.string({ maxLength: 8 }).filter((text) => !/[{}]/.test(text));
  const value = fc.string({ minLength: 1, maxLength: 8 }).map((text) => encodeURIComponent(text.toWellFormed()));
  const part = fc.oneof(
    literal.map((text) => ({ template: text, made: text })),
    value.map((made) => ({ template: '{v}', made })),
  );
  fc.assert(
    fc.property(fc.array(part, { maxLength: 8 }), (parts) => {
      assert.equal(fits(parts.map(({ template }) => template).join(''), parts.map(({ made }) => made).join('')), true);
    }),
    { numRuns: 500 },
  );
});

test('the most expensive template is cheap to match', () => {
  const template = `${'{+x}aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab'.repeat(16)}`;
  const uri = 'a'.repeat(4096);
  const startMs = performance.now();
  assert.equal(fits(template, uri), false);
  const ms = performance.now() - startMs;
  assert.ok(ms < 100, `${ms} ms`);
});
