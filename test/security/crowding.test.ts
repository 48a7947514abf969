/**
 * What a client without a key can take from others by holding connections, and what the headers of one request may
 * cost.
 */
import assert from 'node:assert/strict';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { ROOT, type RunningHub, startHub, until } from '../support/hub.ts';
import { askHub, Client, isResult } from '../support/load.ts';
import { rawExchange } from '../support/raw-client.ts';

const CONNECTIONS = 48;
const HEADERS = 40;
const PING = '{"jsonrpc":"2.0","id":1,"method":"ping"}';

let hub: RunningHub;
before(async () => {
  hub = await startHub({
    config: {
      mcpServers: { a: { command: process.execPath, args: [join(ROOT, 'test/support/fault-stdio.ts'), 'normal'] } },
      groups: { open: { servers: [], access: 'anonymous' } },
    },
    env: { MCPHUB_CONNECTIONS: String(CONNECTIONS), MCPHUB_HEADERS: String(HEADERS), MCPHUB_STDIO_IN_FLIGHT: '128' },
  });
});
after(async () => {
  await hub[Symbol.asyncDispose]();
});

function post(path: string, ...more: string[]): string {
  const headers = ['Host: 127.0.0.1', 'Content-Type: application/json', `Content-Length: ${PING.length}`, ...more];
  return `${[`POST ${path} HTTP/1.1`, ...headers].join('\r\n')}\r\n\r\n${PING}`;
}

/** Connections that send nothing, from several addresses of this machine. */
function openSilent(count: number): Socket[] {
  return Array.from({ length: count }, (_, at) => {
    const socket = connect({ port: hub.port, host: '127.0.0.1', localAddress: `127.0.0.${100 + (at % 50)}` });
    return socket.on('error', () => {}).resume();
  });
}

function openStream(from: string): Socket {
  const socket = connect({ port: hub.port, host: '127.0.0.1', localAddress: from });
  socket.on('error', () => {});
  socket.write('GET /sse/open HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n');
  return socket;
}

// finding: SR-A1
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

// finding: SR-A3
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

// finding: SR-A3
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

async function callsInside(): Promise<number> {
  const { ceilings } = (await askHub(hub, '/api/ceilings')) as { ceilings: { name: string; size: number }[] };
  return ceilings.find(({ name }) => name === 'admission.calls')?.size ?? 0;
}

// finding: SR-M1
test('running calls of a key keep three quarters of the places while connections without a key flood, and the key gets in anew', async () => {
  const client = new Client(hub, CONNECTIONS);
  const running = Array.from({ length: CONNECTIONS - 4 }, () => client.call('a_sleep', { ms: 6000 }, 20_000));
  // Kept connections of the tests before hold a few places.
  await until(async () => (await callsInside()) >= (CONNECTIONS * 3) / 4, 10_000, 'the calls to be inside');
  const silent = openSilent(6 * CONNECTIONS);
  await until(
    () => silent.filter(({ destroyed }) => destroyed).length >= 4 * CONNECTIONS,
    10_000,
    'the flood to be refused',
  );
  assert.ok((await callsInside()) >= (CONNECTIONS * 3) / 4, `${await callsInside()} calls are left`);
  const key = `Authorization: Bearer ${hub.key}`;
  const ping = () => rawExchange({ port: hub.port }, [post('/mcp', key, 'Connection: close')]);
  await until(
    async () => (await ping()).answers[0]?.status === 200,
    2000,
    'a new connection of the key to be answered',
  );
  const answered = (await Promise.all(running)).filter(isResult).length;
  assert.ok(answered >= (CONNECTIONS * 3) / 4, `${answered} of ${running.length} calls were answered`);
  for (const socket of silent) socket.destroy();
  client.close();
});

// finding: SR-A15
test('a page of another site holds no stream of a group without a key, whatever its browser sends', async () => {
  const get = (path: string, ...headers: string[]) =>
    rawExchange(
      { port: hub.port },
      [`${[`GET ${path} HTTP/1.1`, 'Host: 127.0.0.1', ...headers].join('\r\n')}\r\n\r\n`],
      {
        timeoutMs: 300,
      },
    );
  // EventSource and fetch with CORS; an image, a frame and fetch without CORS.
  const evil = 'Origin: https://evil.example';
  const asPage = ['Sec-Fetch-Site: cross-site', 'Sec-Fetch-Mode: no-cors', 'Sec-Fetch-Dest: image'];
  for (const headers of [[evil, 'Sec-Fetch-Site: cross-site', 'Sec-Fetch-Mode: cors'], [evil], asPage]) {
    for (const path of ['/sse/open', '/mcp/open', '/api/keys'])
      assert.equal((await get(path, ...headers)).answers[0]?.status, 403, `${path} ${headers}`);
  }
  assert.equal((await get('/', 'Sec-Fetch-Site: cross-site', 'Sec-Fetch-Mode: navigate')).answers[0]?.status, 200);
  const own = await get('/sse/open', 'Sec-Fetch-Site: same-origin', 'Sec-Fetch-Mode: cors');
  assert.match(own.rest + JSON.stringify(own.answers), /text\/event-stream/);
});
