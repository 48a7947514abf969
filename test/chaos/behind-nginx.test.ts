/**
 * A hub behind an nginx with its default settings: buffering on, a read limit (60 s; here scaled down with the
 * keep-alive, in the long tier as it is).
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { delay, startHub, until } from '../support/hub.ts';
import { Client, isResult, stdioServer } from '../support/load.ts';
import { IS_LONG, measured } from '../support/measured.ts';
import { startNginx } from '../support/nginx.ts';

/** nginx's own default is 60 s, the hub's keep-alive 15 s: the same proportion. */
const READ_S = IS_LONG ? 60 : 4;
const KEEP_ALIVE_MS = IS_LONG ? 15_000 : 1000;
const ALIVE_MS = IS_LONG ? 600_000 : 13_000;

// row C6 · guards src/downstream/streams.ts
test('through a proxy that buffers and cuts what is quiet: the first event is there at once, and the stream lives on', {
  timeout: ALIVE_MS + 60_000,
}, async () => {
  await using hub = await startHub({
    config: { mcpServers: { one: stdioServer() } },
    env: { MCPHUB_STREAM_KEEP_ALIVE_MS: String(KEEP_ALIVE_MS) },
  });
  await using nginx = await startNginx(hub.port, `proxy_read_timeout ${READ_S}s;`);
  const { port } = nginx;
  const client = new Client({ port, key: hub.key });
  await until(async () => isResult(await client.call('one_echo', { text: 'up' })), 30_000, 'one');
  await client.open();
  const bornMs = performance.now();
  assert.equal(await client.listen(), 200);
  await until(() => client.pieces > 0, 5000, 'the first bytes');
  measured({
    promise: 'P13',
    what: 'first event through nginx',
    value: performance.now() - bornMs,
    unit: 'ms',
    strict: 200,
    ci: 420,
  });
  await delay(ALIVE_MS);
  assert.equal(client.ended, 0, 'the stream is open');
  assert.ok(client.comments >= 3, `${client.comments} comments`);
  assert.ok(isResult(await client.call('one_echo', { text: 'still' })));
  // Progress of a call comes as it is made, and not when the proxy's buffer is full.
  client.close();
});
