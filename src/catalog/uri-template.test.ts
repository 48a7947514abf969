/**
 * Which URIs fit a template, against the rule written down as a (slow) expression, and what it costs at worst.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { compileTemplate, fitsTemplate } from './_uri-template.ts';

function fits(template: string, uri: string): boolean {
  const compiled = compileTemplate(template);
  return compiled !== undefined && fitsTemplate(compiled, uri);
}

test('an expression is one or more characters, without a slash unless it says so', () => {
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

test('a query may be left out, nothing else', () => {
  assert.equal(fits('s://find{?q,n}', 's://find?q=x&n=2'), true);
  assert.equal(fits('s://find{?q,n}', 's://find'), true);
  assert.equal(fits('s://find?a=1{&q}', 's://find?a=1'), true);
  assert.equal(fits('s://find{;q}', 's://find'), false);
});

test('text that begins again inside itself is found', () => {
  assert.equal(fits('{x}aab', 'aaaab'), true);
  assert.equal(fits('{x}abab{y}', 'zababab'), true);
  assert.equal(fits('{x}aa{y}aa', 'aaaaaa'), true);
  assert.equal(fits('{x}aa{y}aa', 'aaaaa'), false);
});

test('a template with a brace out of place, or too many expressions, fits nothing', () => {
  for (const broken of ['a{', 'a}', '{}', 'a{b{c}}', '}{', 'a{b', '{a'.repeat(3)])
    assert.equal(compileTemplate(broken), undefined, broken);
  assert.notEqual(compileTemplate('{a}'.repeat(16)), undefined);
  assert.equal(compileTemplate('{a}'.repeat(17)), undefined);
});

test('whatever templates and URIs there are, the answer is that of the rule', () => {
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

test('what is made from a template fits it', () => {
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

test('a template made to cost as much as it can costs little', () => {
  const template = `${'{+x}aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab'.repeat(16)}`;
  const uri = 'a'.repeat(4096);
  const startMs = performance.now();
  assert.equal(fits(template, uri), false);
  const ms = performance.now() - startMs;
  assert.ok(ms < 100, `${ms} ms`);
});
