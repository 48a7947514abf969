import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { basicLogin, headerValue, isHeaderName } from './header-value.ts';

test('ASCII stays as it is and anything else becomes RFC 8187', () => {
  assert.equal(headerValue('Bearer abc.DEF-1'), 'Bearer abc.DEF-1');
  assert.equal(headerValue('  two words '), 'two words');
  assert.equal(headerValue('£ and € rates'), "UTF-8''%C2%A3%20and%20%E2%82%AC%20rates");
  assert.equal(headerValue('a\r\nX-Evil: 1'), "UTF-8''a%0D%0AX-Evil%3A%201");
});

test('whatever the text, the value is legal in HTTP and decodes to the text', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), (text) => {
      const value = headerValue(text);
      assert.match(value, /^[\x20-\x7e\t]*$/);
      new Headers({ 'x-test': value });
      if (value.startsWith("UTF-8''") && !text.trim().startsWith("UTF-8''"))
        assert.equal(decodeURIComponent(value.slice("UTF-8''".length)), text.trim());
    }),
  );
});

test('a name with a space, a colon or nothing in it is no header name', () => {
  assert.equal(isHeaderName('X-Api-Key'), true);
  for (const name of ['', 'a b', 'a:b', 'a\n', 'ä']) assert.equal(isHeaderName(name), false, name);
});

test('the login of a URL is decoded, and a badly encoded one does not throw', () => {
  const of = (text: string): string => Buffer.from(basicLogin(new URL(text))?.slice(6) ?? '', 'base64').toString();
  assert.equal(of('http://me:se%20cret@x.test/'), 'me:se cret');
  assert.equal(of('http://me:50%zz@x.test/'), 'me:50%zz');
  assert.equal(basicLogin(new URL('http://x.test/')), undefined);
});
