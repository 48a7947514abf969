/**
 * What a client without a key can take from others by holding connections, and what the headers of one request may cost.
 */
import assert from 'node:assert/strict';
import { connect, type Socket } from 'node:net';
import { after, before, test } from 'node:test';
import { type RunningHub, startHub, until } from '../support/hub.ts';
import { rawExchange } from '../support/raw-client.ts';

const CONNECTIONS = 48;
const HEADERS = 40;
const PING = '{"jsonrpc":"2.0","id":1,"method":"ping"}';

let hub: RunningHub;
before(async () => {
  hub = await startHub({
    config: { mcpServers: {}, groups: { open: { servers: [], access: 'anonymous' } } },
    env: { MCPHUB_CONNECTIONS: String(CONNECTIONS), MCPHUB_HEADERS: String(HEADERS) },
  });
});
after(async () => {
  await hub[Symbol.asyncDispose]();
});

function post(path: string, ...more: string[]): string {
  const headers = ['Host: 127.0.0.1', 'Content-Type: application/json', `Content-Length: ${PING.length}`, ...more];
  return `${[`POST ${path} HTTP/1.1`, ...headers].join('\r\n')}\r\n\r\n${PING}`;
}

function openStream(from: string): Socket {
  const socket = connect({ port: hub.port, host: '127.0.0.1', localAddress: from });
  socket.on('error', () => {});
  socket.write('GET /sse/open HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n');
  return socket;
}

test('streams of one address take no place from a key: its oldest are closed', async () => {
  const streams = Array.from({ length: 2 * CONNECTIONS }, () => openStream('127.0.0.66'));
  const settled = new Set<Socket>();
  let answers = '';
  for (const stream of streams) {
    stream.once('data', (chunk) => {
      answers += chunk.toString('latin1');
      settled.add(stream);
    });
    stream.on('close', () => settled.add(stream));
  }
  await until(() => settled.size === streams.length, 10_000, 'the streams to be open or closed');
  assert.match(answers, /text\/event-stream/);
  const key = `Authorization: Bearer ${hub.key}`;
  for (let round = 0; round < 5; round += 1) {
    const { answers } = await rawExchange({ port: hub.port }, [post('/mcp', key, 'Connection: close')]);
    assert.deepEqual(
      answers.map(({ status }) => status),
      [200],
    );
  }
  for (const stream of streams) stream.destroy();
});

test('a request with more headers than allowed gets 431, and none of them is overlooked', async () => {
  const junk = Array.from({ length: HEADERS }, (_, at) => `x-${at}: 1`);
  const many = await rawExchange({ port: hub.port }, [post('/mcp/open', ...junk, 'X-Forwarded-For: 192.0.2.1')]);
  assert.deepEqual(
    many.answers.map(({ status }) => status),
    [431],
  );
  assert.match(many.answers[0]?.body ?? '', /headers-too-large/);
  assert.ok(many.closed);
  const allowed = await rawExchange({ port: hub.port }, [post('/mcp/open', ...junk.slice(4), 'Connection: close')]);
  assert.deepEqual(
    allowed.answers.map(({ status }) => status),
    [200],
  );
});

test('a refused request without a body keeps its connection, one with a body closes it', async () => {
  const get = 'GET /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\n';
  const { answers } = await rawExchange({ port: hub.port }, [`${get}\r\n`, `${get}Connection: close\r\n\r\n`], {
    gapMs: 50,
  });
  assert.deepEqual(
    answers.map(({ status }) => status),
    [401, 401],
  );
  assert.equal(answers[0]?.headers.connection, 'keep-alive');
  const half = `POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\n{`;
  const refused = await rawExchange({ port: hub.port }, [half]);
  assert.deepEqual(
    refused.answers.map(({ status }) => status),
    [401],
  );
  assert.equal(refused.answers[0]?.headers.connection, 'close');
});
