import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connectionsWithin } from './descriptors.ts';

const text = (soft: number): string =>
  `Limit                     Soft Limit           Hard Limit           Units\nMax open files            ${soft}                 ${soft}               files\n`;

// row F8 · guards src/config/descriptors.ts
test('connections leave 64 descriptors and what is in use; where nothing is known the limit alone counts', () => {
  assert.equal(connectionsWithin(10_000, text(20_000), 50), 10_000);
  assert.equal(connectionsWithin(10_000, text(1024), 50), 910);
  assert.equal(connectionsWithin(10_000, text(256), 50), 142);
  assert.equal(connectionsWithin(10_000, text(64), 50), 16);
  assert.equal(connectionsWithin(10_000, '', 50), 10_000);
  assert.equal(connectionsWithin(10_000, 'Max open files            unlimited   unlimited files', 50), 10_000);
});
