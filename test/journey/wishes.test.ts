/**
 * Preferences of a session outlive the hub: after a `kill -9` the servers get its log level and its subscriptions
 * again, and updates reach the session that the client continues, without a request of the client.
 */
// covers: A5, B8, B20, B23
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { test } from 'node:test';
import { type RunningHub, tryKill, until } from '../support/hub.ts';
import { Journal, startReadyHub } from '../support/journal.ts';
import { rpc } from '../support/mcp.ts';
import { SseClient } from '../support/sse-client.ts';

const SOON_MS = 20_000;
const URI = 'note://one';

/** What control has on the disk of sessions that live. */
function kept(hub: RunningHub): string {
  const store = new DatabaseSync(join(hub.dataDir, 'mcphub.db'), { readOnly: true });
  try {
    return JSON.stringify(store.prepare('select wishes from session_marks').all());
  } finally {
    store.close();
  }
}

test('log level and subscriptions survive a kill of the hub, and an end of the session ends them', {
  timeout: 120_000,
}, async () => {
  using journal = new Journal();
  await using hub = await startReadyHub({ mcpServers: { notes: journal.stdio() } });
  const client = new SseClient({ port: hub.port, key: hub.key });
  await client.open();
  const { session } = client;
  const ask = async (method: string, params: object) =>
    rpc(`${hub.url}/mcp`, method, params, { key: hub.key, session });
  /** After a kill: a kept socket of the dead hub may be the first that is tried. */
  const askAnew = (method: string, params: object) => ask(method, params).catch(() => undefined);
  const asked = (method: string) => journal.of(method).length;

  for (const [method, params] of [
    ['resources/subscribe', { uri: URI }],
    ['logging/setLevel', { level: 'error' }],
  ] as const)
    assert.deepEqual((await ask(method, params)).json.result, {}, method);
  await until(() => /note:\/\/one/.test(kept(hub)) && /error/.test(kept(hub)), SOON_MS, 'the wishes on the disk');
  assert.deepEqual([asked('resources/subscribe'), asked('logging/setLevel')], [1, 1]);

  for (const pid of hub.processes().hub ?? []) tryKill(pid, 'SIGKILL');
  await until(() => asked('resources/subscribe') === 2 && asked('logging/setLevel') === 2, SOON_MS, 'told again');
  const [, again] = journal.of('logging/setLevel');
  assert.match(JSON.stringify(again), /"level":"error"/);

  const stream = await client.get().head();
  await until(
    async () =>
      (await askAnew('tools/call', { name: 'notes_touch', arguments: { uri: URI } }))?.json?.result !== undefined,
    SOON_MS,
    'an answer',
  );
  await until(() => stream.events.some(({ data }) => data.includes(URI)), SOON_MS, 'the update');

  const ended = await fetch(`${hub.url}/mcp`, {
    method: 'DELETE',
    headers: { authorization: `Bearer ${hub.key}`, 'mcp-session-id': session },
  });
  assert.equal(ended.status, 200);
  await until(() => asked('resources/unsubscribe') === 1, SOON_MS, 'the server is let go');
  await until(() => !/note:\/\/one/.test(kept(hub)), SOON_MS, 'nothing is kept of it');
  for (const pid of hub.processes().hub ?? []) tryKill(pid, 'SIGKILL');
  await until(async () => (await askAnew('ping', {}))?.status === 404, SOON_MS, 'the end outlives the hub too');
  await until(() => asked('initialize') === 3, SOON_MS, 'the server of the third hub');
  // The wishes of living sessions are told right after the handshake, before the lists.
  await until(() => asked('tools/list') >= 3, SOON_MS, 'the third hub has read the lists');
  assert.equal(asked('resources/subscribe'), 2, 'nobody wishes for it any more');
});
