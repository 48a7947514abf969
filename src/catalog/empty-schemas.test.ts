import assert from 'node:assert/strict';
import { test } from 'node:test';
import { mayHaveEmpty, withFilledSchemas } from './_empty-schemas.ts';

test('an empty array in the place of a schema or of a map of schemas becomes an object, at any depth', () => {
  const given = {
    type: 'object',
    properties: {
      a: [],
      b: { type: 'object', properties: [], required: [] },
      c: { type: 'array', items: [] },
      d: { anyOf: [[], { type: 'object', properties: { e: { patternProperties: [] } } }] },
    },
    additionalProperties: [],
    $defs: [],
  };
  assert.deepEqual(withFilledSchemas(given), {
    type: 'object',
    properties: {
      a: {},
      b: { type: 'object', properties: {}, required: [] },
      c: { type: 'array', items: {} },
      d: { anyOf: [{}, { type: 'object', properties: { e: { patternProperties: {} } } }] },
    },
    additionalProperties: {},
    $defs: {},
  });
});

test('a schema without one is the same object', () => {
  for (const schema of [
    {},
    { type: 'object', required: [], enum: [], default: [], examples: [[]] },
    { properties: { properties: { type: 'string' }, list: { items: [{ type: 'string' }], const: [] } } },
  ])
    assert.equal(withFilledSchemas(schema), schema);
});

// case: SV54
test('null in the place of a keyword, and a required that is no list, are taken out at any depth', () => {
  const given = {
    type: 'object',
    properties: {
      a: { type: 'string', required: true, description: null, default: null, 'x-own': null },
      b: { type: 'object', properties: null, required: null, items: null, $defs: { c: null } },
      d: null,
      e: { anyOf: [], type: [], allOf: [null, { title: null }], enum: [null] },
      required: { type: 'boolean' },
    },
    dependentRequired: [],
  };
  assert.deepEqual(withFilledSchemas(given), {
    type: 'object',
    properties: {
      a: { type: 'string', default: null, 'x-own': null },
      b: { type: 'object', $defs: { c: {} } },
      d: {},
      e: { allOf: [{}, {}], enum: [null] },
      required: { type: 'boolean' },
    },
    dependentRequired: {},
  });
});

test('the search of the text finds whatever may be empty, however it is written, and passes over what never is', () => {
  for (const text of ['{"a":[]}', '{"a": [ \n ]}', '{"required" : null}', '{"required":true}', '{"title": null}'])
    assert.ok(mayHaveEmpty(Buffer.from(text)), text);
  for (const text of [
    '{"default":null}',
    '{"default" : null}',
    '{"type":"null"}',
    '{"required":["a"]}',
    '{"enum":[null]}',
    '{}',
  ])
    assert.equal(mayHaveEmpty(Buffer.from(text)), false, text);
});
