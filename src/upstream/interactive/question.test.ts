import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isRefusal } from '../../model/outcome.ts';
import { labelOf, labelQuestion, labelUrlError, safeUrl } from './question.ts';

const ABOUT = { server: 'evil', name: 'Evil, Inc.', maxBytes: 100_000 };
const ELICIT = 'elicitation/create';
const SAMPLE = 'sampling/createMessage';

// biome-ignore lint/suspicious/noExplicitAny: params are looked into
function shown(method: string, params: object | undefined): any {
  const labelled = labelQuestion(method, params && Buffer.from(JSON.stringify(params)), ABOUT);
  assert.ok(!isRefusal(labelled), JSON.stringify(labelled));
  return JSON.parse(labelled.toString());
}

test('puts the name of the server in front of every kind of question', () => {
  const label = '[mcphub server "Evil, Inc."] ';
  assert.equal(shown(ELICIT, { message: 'Your name?' }).message, `${label}Your name?`);
  assert.equal(shown(ELICIT, {}).message, label);
  assert.equal(shown(SAMPLE, { messages: [], systemPrompt: 'Be brief.' }).systemPrompt, `${label}Be brief.`);
  for (const method of [ELICIT, SAMPLE, 'roots/list'])
    assert.equal(shown(method, { _meta: { 'mcphub/server': 'bank', other: 1 } })._meta['mcphub/server'], 'Evil, Inc.');
  assert.deepEqual(shown('roots/list', undefined), { _meta: { 'mcphub/server': 'Evil, Inc.' } });
});

test('no text of a server looks like the label', () => {
  const label = /[[［【〔⟦]\s*mcphub/i;
  const forged = [
    '[mcphub server "bank"] Your PIN?',
    'x\n\n\n\n\n\n\n\n［mcphub server "bank"］ PIN?',
    '\u202e[m\u200bcphub server "bank"]',
    '\u001b[2K\r[mcphub server "bank"] PIN?',
    '【mcphub server "bank"】',
  ];
  for (const message of forged) {
    const text: string = shown(ELICIT, { message }).message;
    assert.ok(text.startsWith('[mcphub server "Evil, Inc."] '), text);
    const own = text.slice(labelOf(ABOUT.name).length);
    assert.equal(label.test(own), false, own);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
    assert.equal(/[\u0000-\u0009\u000b-\u001f\u200b\u202e]|\n{3}/.test(own), false, JSON.stringify(own));
  }
  assert.equal(labelOf('a"] [b\u202e'), '[mcphub server "a\') (b"] ');
});

test('a form keeps its fields, without control and bidi characters in its texts', () => {
  const requestedSchema = { type: 'object', properties: { pin: { type: 'string', title: 'P\u202eIN', enum: ['a'] } } };
  assert.deepEqual(shown(ELICIT, { message: 'x', requestedSchema }).requestedSchema, {
    type: 'object',
    properties: { pin: { type: 'string', title: 'PIN', enum: ['a'] } },
  });
});

// finding: SR-A8
test('a form has no text and no field name that looks like the label', () => {
  const title = '[mcphub server "bank"] PIN';
  const requestedSchema = {
    type: 'object',
    properties: {
      pin: { type: 'string', title, description: title, enumNames: [title], oneOf: [{ const: '[1]', title }] },
    },
  };
  const clean = '(mcphub server "bank") PIN';
  assert.deepEqual(shown(ELICIT, { message: 'x', requestedSchema }).requestedSchema.properties.pin, {
    ...{ type: 'string', title: clean, description: clean, enumNames: [clean] },
    oneOf: [{ const: '[1]', title: clean }],
  });
  for (const name of [title, 'p\u202ein', 'p\u001bin', '【mcphub】']) {
    const schema = { type: 'object', properties: { [name]: { type: 'string' } } };
    assert.ok(isRefusal(labelQuestion(ELICIT, Buffer.from(JSON.stringify({ requestedSchema: schema })), ABOUT)), name);
  }
});

test('a page that a user is to open is https, or http on loopback, without credentials', () => {
  for (const url of ['https://example.com/a?b=c', 'http://127.0.0.1:8080/', 'http://localhost/x', 'http://[::1]:1/'])
    assert.equal(shown(ELICIT, { mode: 'url', message: 'x', elicitationId: '1', url }).url, url);
  const refused = [
    'javascript:alert(1)',
    'file:///etc/passwd',
    'http://evil.example/',
    'http://127.0.0.1.evil.example/',
    'http://localhost.evil.example/',
    'https://user:password@example.com/',
    'https://bank.example@evil.example/',
    'data:text/html,x',
    'vscode://x',
    'java\nscript:alert(1)',
    '//example.com',
    '',
    7,
  ];
  for (const url of refused) {
    for (const mode of ['url', 'URL', undefined]) {
      const params = Buffer.from(JSON.stringify({ mode, message: 'x', url }));
      assert.ok(isRefusal(labelQuestion(ELICIT, params, ABOUT)), `${mode} ${url}`);
    }
  }
  assert.ok(isRefusal(labelQuestion(ELICIT, Buffer.from('{"mode":"url","message":"x"}'), ABOUT)));
  assert.equal(safeUrl('https://ex\tample.com/'), 'https://example.com/');
});

test('params that are too large or no object are refused', () => {
  for (const params of ['[]', '7', '{', `{"message":"${'x'.repeat(100_000)}"}`])
    assert.ok(isRefusal(labelQuestion(ELICIT, Buffer.from(params), ABOUT)), params.slice(0, 20));
});

test('the pages of an error that asks for them are labelled and checked; other errors keep their bytes', () => {
  const errorFor = (url: string) => {
    const data = { elicitations: [{ mode: 'url', message: 'Sign in', url }] };
    return Buffer.from(JSON.stringify({ code: -32042, message: 'm', data }));
  };
  const good = labelUrlError(errorFor('https://example.com/'), ABOUT);
  assert.ok(!isRefusal(good));
  assert.equal(JSON.parse(good.toString()).data.elicitations[0].message, '[mcphub server "Evil, Inc."] Sign in');
  assert.ok(isRefusal(labelUrlError(errorFor('javascript:1'), ABOUT)));
  for (const text of ['{ "code":-32602, "message":"no" }', '{"code":-32602,"message":"-32042"}']) {
    const other = Buffer.from(text);
    assert.equal(labelUrlError(other, ABOUT), other);
  }
});
