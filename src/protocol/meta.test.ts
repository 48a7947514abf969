import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { withoutMembers } from './meta.ts';

test('removes members in any spelling of their names and keeps the rest unchanged', () => {
  fc.assert(
    fc.property(
      fc.uniqueArray(fc.constantFrom('resultType', 'ttlMs', 'a', 'b', 'content'), { maxLength: 5 }),
      fc.jsonValue({ maxDepth: 2 }),
      fc.constantFrom('', ' ', '\n  '),
      fc.boolean(),
      (keys, value, space, isEscaped) => {
        const spelled = (key: string) =>
          isEscaped ? `"${key.slice(0, -1)}\\u00${key.charCodeAt(key.length - 1).toString(16)}"` : `"${key}"`;
        const members = keys.map((key) => `${space}${spelled(key)}${space}:${space}${JSON.stringify(value)}${space}`);
        const text = `{${members.join(',') || space}}`;
        const { resultType: _, ttlMs: __, ...rest } = JSON.parse(text) as Record<string, unknown>;
        assert.deepEqual(JSON.parse(withoutMembers(Buffer.from(text), ['resultType', 'ttlMs']).toString()), rest);
      },
    ),
  );
  assert.equal(withoutMembers(Buffer.from('5'), ['a']).toString(), '5');
  const nested = '{"x":{"resultType":1},"resultTyp\\u0065":"complete"}';
  assert.equal(withoutMembers(Buffer.from(nested), ['resultType']).toString(), '{"x":{"resultType":1}}');
});
