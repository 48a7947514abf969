import assert from 'node:assert/strict';
import { test } from 'node:test';
import { mayHaveEmpty, withFilledSchemas } from './_empty-schemas.ts';

test('replaces an empty array in place of a schema or map of schemas by an object, at any depth', () => {
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

test('returns the same object when nothing changes', () => {
  for (const schema of [
    {},
    { type: 'object', required: [], enum: [], default: [], examples: [[]] },
    { properties: { properties: { type: 'string' }, list: { items: [{ type: 'string' }], const: [] } } },
  ])
    assert.equal(withFilledSchemas(schema), schema);
});

// case: SV54
test('removes keywords that are null, and a required that is not a list, at any depth', () => {
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

test('the search of the text finds every candidate, however it is formatted, and skips what is never repaired', () => {
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
