import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { HubError } from '../kernel/errors.ts';
import { createKernel } from '../kernel/kernel.ts';
import { createKeyRing } from './key-ring.ts';
import { readOrMakeSecrets } from './secret-file.ts';

test('what was sealed opens to the same bytes, for its own purpose only', () => {
  const ring = createKeyRing([Buffer.from('one secret of thirty-two letters')]);
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
      const text = ring.seal('session', Buffer.from(bytes));
      assert.deepEqual(ring.open('session', text), Buffer.from(bytes));
      assert.equal(ring.open('request-state', text), undefined);
    }),
  );
});

test('nothing that was not sealed here opens, and nothing throws', () => {
  const ring = createKeyRing([Buffer.from('one secret of thirty-two letters')]);
  fc.assert(fc.property(fc.string({ maxLength: 200 }), (text) => assert.equal(ring.open('session', text), undefined)));
});

test('processes that start at once agree on one secret, in a file of mode 0600', async () => {
  const dataDir = await mkdtemp(join(tmpdir(), 'mcphub-seal-'));
  const kernel = createKernel();
  try {
    using deadline = kernel.deadline(5000);
    const all = await Promise.all(
      Array.from({ length: 20 }, () =>
        readOrMakeSecrets({ secret: undefined, secretFile: undefined, dataDir, waits: kernel.waits }, deadline),
      ),
    );
    assert.equal(new Set(all.map((secrets) => secrets[0]?.toString('hex'))).size, 1);
    assert.equal((await stat(join(dataDir, 'secret'))).mode & 0o777, 0o600);
    assert.equal((await readFile(join(dataDir, 'secret'), 'utf8')).trim(), all[0]?.[0]?.toString('utf8'));
  } finally {
    await rm(dataDir, { recursive: true });
  }
});

test('short, known and missing secrets are refused by name', async () => {
  const kernel = createKernel();
  using deadline = kernel.deadline(5000);
  const read = (secret: string | undefined, secretFile?: string) =>
    readOrMakeSecrets({ secret, secretFile, dataDir: '/nonexistent', waits: kernel.waits }, deadline);
  for (const secret of ['short', 'your-secret-key-change-this', 'aaaaaaaaaaaaaaaaaaaaaaaa']) {
    await assert.rejects(
      read(secret),
      (fault) =>
        fault instanceof HubError && fault.code === 'config-invalid' && fault.message.includes('MCPHUB_SECRET'),
    );
  }
  await assert.rejects(read(undefined, '/nonexistent/secret'), /cannot be read/);
  assert.equal((await read('b1946ac92492d2347c6235b4d2611184')).length, 1);
});
