import assert from 'node:assert/strict';
import { test } from 'node:test';
import { withFilledSchemas } from './_empty-schemas.ts';

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
