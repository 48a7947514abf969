import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RECORD_BYTES, RESERVED_IDS, recordFrom, recordText } from './session-record.ts';

const HELLO = {
  version: '2025-06-18',
  name: 'one',
  serverVersion: '1',
  instructions: 'i',
  capabilities: { tools: {} },
};
const RECORD = { id: 'session-a', version: '2025-06-18', idsBelow: 70_000, hello: HELLO };

// case: SV24c
test('a record is read as it was written, without instructions where they are too long', () => {
  assert.deepEqual(recordFrom(recordText(RECORD)), RECORD);
  const long = recordText({ ...RECORD, hello: { ...HELLO, instructions: 'x'.repeat(RECORD_BYTES) } });
  assert.ok(long.length < RECORD_BYTES);
  assert.deepEqual(recordFrom(long)?.hello, { ...HELLO, instructions: '' });
});

// case: SV24c
test('what is not fit for a header or the pipeline is left out', () => {
  const read = (more: object) => recordFrom(JSON.stringify({ format: 1, ...RECORD, ...more }));
  assert.equal(read({ format: 2 }), undefined);
  assert.equal(read({ id: 'a\r\nb' }), undefined);
  assert.equal(read({ id: 7 }), undefined);
  assert.equal(read({ version: 'a\nb' })?.version, undefined);
  for (const hello of [7, null, [], { ...HELLO, version: '2099-01-01' }])
    assert.equal(read({ hello })?.hello, undefined, JSON.stringify(hello));
  assert.deepEqual(read({ hello: { ...HELLO, name: 'x'.repeat(30_000), capabilities: [] } })?.hello, {
    ...HELLO,
    name: 'x'.repeat(200),
    capabilities: {},
  });
  // From a hub that did not record ids.
  for (const idsBelow of [undefined, 0, -1, 1.5, '7', 2 ** 40]) {
    const { hello, idsBelow: ids } = read({ idsBelow }) ?? {};
    assert.deepEqual([hello, ids], [undefined, RESERVED_IDS]);
  }
});
