import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { HubError } from '../model/errors.ts';
import { createRuntime } from '../runtime/runtime.ts';
import { createKeyRing } from './key-ring.ts';
import { readOrCreateSecrets } from './secret-file.ts';

test('opens a sealed text to the same bytes, only for its purpose', () => {
  const ring = createKeyRing([Buffer.from('one secret of thirty-two letters')]);
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
      const text = ring.seal('session', Buffer.from(bytes));
      assert.deepEqual(ring.open('session', text), Buffer.from(bytes));
      assert.equal(ring.open('request-state', text), undefined);
    }),
  );
});

test('opens no text that it has not sealed, and never throws', () => {
  const ring = createKeyRing([Buffer.from('one secret of thirty-two letters')]);
  fc.assert(fc.property(fc.string({ maxLength: 200 }), (text) => assert.equal(ring.open('session', text), undefined)));
});

test('processes that start at the same time agree on one secret, in a file of mode 0600', async () => {
  const dataDir = await mkdtemp(join(tmpdir(), 'mcphub-seal-'));
  const runtime = createRuntime();
  try {
    using deadline = runtime.deadline(5000);
    const all = await Promise.all(
      Array.from({ length: 20 }, () =>
        readOrCreateSecrets({ secret: undefined, secretFile: undefined, dataDir, waits: runtime.waits }, deadline),
      ),
    );
    assert.equal(new Set(all.map((secrets) => secrets[0]?.toString('hex'))).size, 1);
    assert.equal((await stat(join(dataDir, 'secret'))).mode & 0o777, 0o600);
    assert.equal((await readFile(join(dataDir, 'secret'), 'utf8')).trim(), all[0]?.[0]?.toString('utf8'));
  } finally {
    await rm(dataDir, { recursive: true });
  }
});

test('refuses short, well-known and missing secrets, and names the setting', async () => {
  const runtime = createRuntime();
  using deadline = runtime.deadline(5000);
  const read = (secret: string | undefined, secretFile?: string) =>
    readOrCreateSecrets({ secret, secretFile, dataDir: '/nonexistent', waits: runtime.waits }, deadline);
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

test('does not open a text with a flipped bit, truncated or extended', () => {
  const ring = createKeyRing([Buffer.from('one secret of thirty-two letters')]);
  const text = ring.seal('session', Buffer.from('token'));
  const bytes = Buffer.from(text, 'base64url');
  fc.assert(
    fc.property(fc.nat(bytes.length * 8 - 1), (bit) => {
      const altered = Buffer.from(bytes);
      altered[bit >> 3] = (altered[bit >> 3] as number) ^ (1 << (bit & 7));
      assert.equal(ring.open('session', altered.toString('base64url')), undefined);
    }),
  );
  for (const other of [text.slice(0, -1), `${text}A`, `${text}=`, ` ${text}`, text.repeat(2), ''])
    assert.equal(ring.open('session', other), undefined, other);
});

test('rotation: the first secret seals, all secrets open, a removed one does not', () => {
  const [old, young] = [
    Buffer.from('the old secret of the product 01'),
    Buffer.from('the new secret of the product 02'),
  ];
  const before = createKeyRing([old]).seal('session', Buffer.from('x'));
  const both = createKeyRing([young, old]);
  assert.equal(both.open('session', before)?.toString(), 'x');
  const after = both.seal('session', Buffer.from('y'));
  assert.equal(createKeyRing([young]).open('session', after)?.toString(), 'y');
  assert.equal(createKeyRing([young]).open('session', before), undefined);
  assert.throws(
    () => createKeyRing([]),
    (fault) => fault instanceof HubError && fault.code === 'config-invalid',
  );
});

test('reads one secret per line; a pass phrase may contain spaces', async () => {
  const runtime = createRuntime();
  using deadline = runtime.deadline(5000);
  const secrets = await readOrCreateSecrets(
    {
      secret: ' a phrase with several words \r\n\nthe-secret-before-it\n',
      secretFile: '',
      dataDir: '/',
      waits: runtime.waits,
    },
    deadline,
  );
  assert.deepEqual(secrets.map(String), ['a phrase with several words', 'the-secret-before-it']);
});

test('names the data directory when it cannot be written', async () => {
  const dataDir = await mkdtemp(join(tmpdir(), 'mcphub-seal-'));
  const runtime = createRuntime();
  using deadline = runtime.deadline(5000);
  try {
    const file = join(dataDir, 'file');
    await writeFile(file, '');
    await assert.rejects(
      readOrCreateSecrets(
        { secret: undefined, secretFile: undefined, dataDir: join(file, 'x'), waits: runtime.waits },
        deadline,
      ),
      (fault) => fault instanceof HubError && fault.code === 'config-invalid' && fault.message.includes(file),
    );
  } finally {
    await rm(dataDir, { recursive: true });
  }
});
