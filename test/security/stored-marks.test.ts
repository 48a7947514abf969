/**
 * SR-H2: what an older version stored of sessions, however large, hurts neither the start nor a revocation.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { test } from 'node:test';
import { type RunningHub, startHub, statusOf, until } from '../support/hub.ts';
import { rpc } from '../support/mcp.ts';
import { makeKey } from '../support/sse-client.ts';

function bearer({ key }: RunningHub): { authorization: string } {
  return { authorization: `Bearer ${key}` };
}

async function revoke(hub: RunningHub, user: string): Promise<void> {
  const headers = bearer(hub);
  const list = (await (await fetch(`${hub.url}/api/keys`, { headers })).json()) as {
    keys: { id: string; user: string; prefix: string }[];
  };
  const key = list.keys.find((one) => one.user === user);
  assert.ok(key);
  const { status } = await fetch(`${hub.url}/api/keys/${key.prefix}`, { method: 'DELETE', headers });
  assert.equal(status, 200);
}

// finding: SR-H2
test('a hub with six stored session marks of 4 MiB starts, makes keys and revokes them', async (t) => {
  const dataDir = mkdtempSync(join(tmpdir(), 'mcphub-marks-'));
  t.after(() => rmSync(dataDir, { recursive: true, force: true }));
  const options = { config: { mcpServers: {} }, dataDir, env: { MCPHUB_FAILED_KEYS_PER_MINUTE: '10000' } };
  let key = '';
  {
    await using first = await startHub(options);
    key = first.key;
    await first.stop();
  }
  const store = new DatabaseSync(join(dataDir, 'mcphub.db'));
  const insert = store.prepare('insert into session_marks (id, at, wishes) values (?, ?, ?)');
  for (let n = 0; n < 6; n += 1) insert.run(`mark${n}`, Date.now() + n, 'x'.repeat(4 * 1024 * 1024));
  store.close();
  await using hub = await startHub({ ...options, key });
  // Workers answer from their snapshot before the control process is up.
  await until(async () => (await statusOf(`${hub.url}/api/keys`, bearer(hub))) === 200, 10_000, 'the control process');
  const secret = await makeKey(hub, 'late');
  await revoke(hub, 'late');
  const refused = async () => (await rpc(`${hub.url}/mcp`, 'ping', {}, { key: secret })).status === 401;
  await until(refused, 2000, 'the revoked key is refused');
});
