/**
 * Everything that stays open on behalf of a caller is registered, so that it ends with the caller's key. A new place,
 * or a kind that nobody registers any more, fails here; the ends themselves are tested in
 * test/security/revocation.test.ts.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readTree } from './_tree.ts';

/** The files that register each kind. */
const REGISTERED: Readonly<Record<string, readonly string[]>> = {
  call: ['call/pipeline.ts'],
  batch: ['downstream/batch.ts'],
  'suspended-call': ['call/suspended-calls.ts'],
  stream: ['downstream/streams.ts'],
  'retained-stream': ['session/resumable-streams.ts'],
  'session-connection': ['upstream/interactive/session-connections.ts'],
  'passed-request': ['downstream/peer-workers.ts'],
};

const KIND = /openWork\s*\.add\(\s*'([a-z-]+)'/g;

// finding: SR-A13
test('each kind of open work is registered where it begins, and nowhere else', () => {
  const found: Record<string, string[]> = {};
  for (const file of readTree()) {
    if (file.path.endsWith('.test.ts')) continue;
    for (const [, kind = ''] of file.code.matchAll(KIND)) found[kind] = [...(found[kind] ?? []), file.path];
  }
  assert.deepEqual(found, REGISTERED);
});

test('only the stream container turns a response into a stream', () => {
  const wrong = readTree()
    .filter(
      ({ path, code }) =>
        !path.endsWith('.test.ts') && path.startsWith('downstream/') && code.includes('new SseStream('),
    )
    .map(({ path }) => path);
  assert.deepEqual(wrong, ['downstream/streams.ts']);
});
