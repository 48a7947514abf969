/**
 * Connections that bring nothing: a client that is gone without a word, idle ones when all places are taken, and many
 * that take no answer.
 */
// runs: in pairs, about 40 s
// covers: P12, P13
import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { test } from 'node:test';
import { startFarPlace } from '../support/far-place.ts';
import { delay, freePort, startHub, until } from '../support/hub.ts';
import { askHub, Client, isResult, stdioServer } from '../support/load.ts';
import { IS_LONG, measured } from '../support/measured.ts';
import { isUnharmed } from '../support/unharmed.ts';

// row C2 · guards src/downstream/unreachable-clients.ts
test('a client that is gone without a word, its stream open, is let go', { timeout: 240_000 }, async () => {
  const port = await freePort();
  const env = {
    MCPHUB_ALLOWED_HOSTS: '10.213.62.1',
    // What takes two minutes as it is takes half of one here.
    ...(IS_LONG ? {} : { MCPHUB_VANISHED_LOOK_MS: '2000', MCPHUB_STREAM_KEEP_ALIVE_MS: '1000' }),
  };
  await using hub = await startHub({
    config: { mcpServers: { one: stdioServer() } },
    port,
    env,
    args: ['--host', '0.0.0.0'],
  });
  const client = new Client(hub);
  await until(async () => isResult(await client.call('one_echo', { text: 'up' })), 60_000, 'one');
  await client.open();
  // One stream of a client here, which stays, and one of a client over there.
  assert.equal(await client.listen(), 200);
  const listens = `
    const { get } = require('node:http');
    const headers = { authorization: 'Bearer ${hub.key}', accept: 'text/event-stream', 'mcp-session-id': process.argv[1] };
    get({ host: '10.213.62.1', port: ${port}, path: '/mcp', headers }, (answer) => console.log(answer.statusCode)).on('error', console.log);`;
  const other = new Client(hub);
  await other.open();
  const far = await startFarPlace(62, ['-e', listens, '--', other.session ?? '']);
  try {
    const streams = async (): Promise<number> => (await askHub(hub, '/api/health')).counts.streams;
    await until(async () => (await streams()) === 2, 20_000, 'both streams');
    far.cut();
    const value = await until(async () => (await streams()) === 1, 150_000, 'the end of the stream');
    measured({ promise: 'P12', what: 'a vanished client’s stream is freed after', value, unit: 'ms', strict: 120_000 });
    await delay(1000);
    assert.equal(await streams(), 1, 'who is there stays');
    assert.match(hub.log, /clients-vanished|unreachable clients/);
    assert.ok(isResult(await other.call('one_echo', { text: 'x' })), 'and its session goes on');
  } finally {
    far.close();
  }
  other.close();
  client.close();
  await isUnharmed(hub, 'one_echo');
});

// row C4 · guards src/downstream/listener.ts
test('when all connections are taken, one that waits for nothing makes place', { timeout: 120_000 }, async () => {
  const env = { MCPHUB_CONNECTIONS: '20' };
  await using hub = await startHub({ config: { mcpServers: { one: stdioServer() } }, env });
  const keeper = new Client(hub);
  await until(async () => isResult(await keeper.call('one_echo', { text: 'up' })), 60_000, 'one');
  await keeper.open();
  assert.equal(await keeper.listen(), 200);
  const kept: Client[] = [];
  for (let at = 0; at < 60; at += 1) {
    const client = new Client(hub);
    kept.push(client);
    const { status, fault } = await client.call('one_echo', { text: 'x' });
    assert.equal(status, 200, `client ${at}: ${fault}`);
  }
  assert.equal(keeper.ended, 0, 'a stream is no idle connection');
  // With the stream these are three quarters of the places, which connections without a key do not take.
  const busy = kept.slice(-14).map((client) => client.call('one_sleep', { ms: 1500 }));
  await delay(300);
  const sockets = Array.from({ length: 10 }, () => connect(hub.port, '127.0.0.1').on('error', () => {}));
  assert.ok((await Promise.all(busy)).every(isResult), 'nobody who waits is sent away');
  for (const socket of sockets) socket.destroy();
  for (const client of [...kept, keeper]) client.close();
  await isUnharmed(hub, 'one_echo');
});

// row C8 · guards src/downstream/slow-reader.ts
test('answers that nobody takes have a budget together: who waits longest goes first', {
  timeout: 120_000,
}, async () => {
  const bytes = 14_000_000;
  const env = { MCPHUB_UNREAD_BYTES: '40000000' };
  await using hub = await startHub({ config: { mcpServers: { one: stdioServer() } }, env });
  const client = new Client(hub);
  await until(async () => isResult(await client.call('one_echo', { text: 'up' })), 60_000, 'one');
  const before = (await askHub(hub, '/api/health')).process.rssBytes;
  const body = JSON.stringify({
    ...{ jsonrpc: '2.0', id: 1, method: 'tools/call' },
    params: { name: 'one_big', arguments: { bytes } },
  });
  const head = `POST /mcp HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer ${hub.key}\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n`;
  const sockets = [];
  for (let at = 0; at < 20; at += 1) {
    const socket = connect(hub.port, '127.0.0.1').on('error', () => {});
    socket.pause();
    socket.write(head + body);
    sockets.push(socket);
    await delay(150);
    assert.ok(isResult(await client.call('one_echo', { text: 'honest' })));
  }
  const reader = new Client(hub);
  assert.ok(isResult(await reader.call('one_big', { bytes })), 'who reads gets all of it meanwhile');
  const { process: now, counts } = await askHub(hub, '/api/health');
  assert.ok(counts.connections <= 8, `${counts.connections} connections`);
  const value = (now.rssBytes - before) / 2 ** 20;
  measured({
    promise: 'P13',
    what: '20 readers of 14 MB that take nothing hold',
    value,
    unit: 'MB',
    strict: 150,
    ci: 300,
  });
  for (const socket of sockets) socket.destroy();
  for (const one of [client, reader]) one.close();
  await isUnharmed(hub, 'one_echo');
});
