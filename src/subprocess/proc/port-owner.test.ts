import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { isPortTaken } from './port-owner.ts';

/**
 * A table as the kernel prints it: port 8080 of user 1001 listens, port 8081 of user 1001 is connected, 8082 is root's.
 */
const TABLE = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1001        0 1 1 0 100 0 0 10 0
   1: 0100007F:1F91 0100007F:1F90 01 00000000:00000000 00:00000000 00000000  1001        0 2 1 0 20 4 30 10 -1
   2: 0100007F:1F92 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 3 1 0 100 0 0 10 0
`;

// finding: SR-L6
test('a port is taken when another user listens on it, and neither by root, by this user nor by a connection', async () => {
  const root = mkdtempSync(join(tmpdir(), 'mcphub-proc-'));
  try {
    mkdirSync(join(root, 'net'));
    for (const [table, other] of [
      ['tcp', 'tcp6'],
      ['tcp6', 'tcp'],
    ]) {
      writeFileSync(join(root, 'net', table ?? ''), TABLE);
      writeFileSync(join(root, 'net', other ?? ''), '');
      assert.equal(await isPortTaken(8080, 1000, root), true);
      assert.equal(await isPortTaken(8080, 1001, root), false);
      assert.equal(await isPortTaken(8081, 1000, root), false);
      assert.equal(await isPortTaken(8082, 1000, root), false);
      assert.equal(await isPortTaken(8083, 1000, root), false);
    }
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
});

test('a port of this process is not taken, as the running kernel tells it', async () => {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  assert.ok(typeof address === 'object' && address);
  try {
    assert.equal(await isPortTaken(address.port, process.getuid?.() ?? 0), false);
  } finally {
    server.close();
  }
});

test('without /proc no port is taken', async () => {
  assert.equal(await isPortTaken(8080, 1000, '/nowhere'), false);
});
