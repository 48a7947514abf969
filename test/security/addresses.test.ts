/**
 * SR-M1, SR-M7: what one address or one key may hold of a hub, and whose address counts. Loopback has many addresses:
 * each plays a client of its own.
 */
import assert from 'node:assert/strict';
import { request as httpRequest, type IncomingHttpHeaders } from 'node:http';
import { connect, type Socket } from 'node:net';
import { after, before, test } from 'node:test';
import { type RunningHub, startHub, until } from '../support/hub.ts';

const PROXY = '127.0.0.9';
const CONNECTIONS = 48;
const PING = '{"jsonrpc":"2.0","id":1,"method":"ping"}';

let hub: RunningHub;
before(async () => {
  hub = await startHub({
    config: {
      mcpServers: {},
      groups: { open: { servers: [], access: 'anonymous' } },
      settings: { trustedProxies: [PROXY] },
    },
    env: {
      MCPHUB_CONNECTIONS: String(CONNECTIONS),
      MCPHUB_BODIES_BYTES: String(4 * 2 ** 20),
      MCPHUB_BODIES_BYTES_PER_KEY: String(2 ** 20),
      MCPHUB_OPEN_BODIES_PER_KEY: '8',
      MCPHUB_ADDRESS_PER_SECOND: '5',
    },
  });
});
after(async () => {
  await hub[Symbol.asyncDispose]();
});

interface Answer {
  readonly status: number;
  readonly text: string;
}

/** One request on a connection of its own, from this address of loopback. */
function ask(
  from: string,
  {
    path = '/mcp',
    headers = {},
    body = PING,
    method = 'POST',
  }: { path?: string; headers?: IncomingHttpHeaders; body?: string; method?: string } = {},
): Promise<Answer> {
  return new Promise((done, fail) => {
    const sent = httpRequest(
      {
        ...{ port: hub.port, host: '127.0.0.1', localAddress: from, agent: false, path, method },
        headers: { 'content-type': 'application/json', ...headers },
      },
      (answer) => {
        let text = '';
        answer.on('data', (chunk) => {
          text += chunk;
        });
        answer.on('end', () => done({ status: answer.statusCode ?? 0, text }));
      },
    );
    sent.on('error', fail);
    sent.end(method === 'POST' ? body : undefined);
  });
}

const withKey = (): IncomingHttpHeaders => ({ authorization: `Bearer ${hub.key}` });

function open(from: string, text = ''): Socket {
  const socket = connect({ port: hub.port, host: '127.0.0.1', localAddress: from });
  socket.on('error', () => {});
  socket.resume();
  if (text !== '') socket.write(text);
  return socket;
}

// finding: SR-M1
test('silent connections of one address close each other, and no client elsewhere notices', async () => {
  const silent = Array.from({ length: 3 * CONNECTIONS }, () => open('127.0.0.66'));
  let closed = 0;
  for (const socket of silent) socket.on('close', () => (closed += 1));
  await until(() => closed >= 2 * CONNECTIONS, 10_000, 'the oldest to be closed');
  for (let round = 0; round < 10; round += 1)
    assert.equal((await ask(`127.0.0.${10 + round}`, { headers: withKey() })).status, 200);
  for (const socket of silent) socket.destroy();
});

// finding: SR-M1
test('half bodies without a key hold nothing: each gets its 401 at once', async () => {
  const half = `POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 4000000\r\n\r\n{`;
  const sockets = Array.from({ length: 20 }, (_, at) => open(`127.0.1.${at + 1}`, half));
  const answers = await Promise.all(
    sockets.map(
      (socket) => new Promise<string>((done) => socket.once('data', (chunk) => done(chunk.toString('latin1')))),
    ),
  );
  assert.ok(answers.every((answer) => answer.startsWith('HTTP/1.1 401 ')));
  for (const socket of sockets) socket.destroy();
});

// finding: SR-M1, SR-M2
test('a key whose bodies hold its share is refused with the name of the setting, an address without a key has its own', async () => {
  const head = (path: string, ...more: string[]) =>
    `${[`POST ${path} HTTP/1.1`, 'Host: 127.0.0.1', 'Content-Type: application/json', 'Content-Length: 600000', ...more].join('\r\n')}\r\n\r\n{`;
  const first = open('127.0.0.2', head('/mcp', `Authorization: Bearer ${hub.key}`));
  await until(async () => (await held()) > 0, 5000, 'the first body to be counted');
  const body = ' '.repeat(600_000);
  const refused = await ask('127.0.0.3', { headers: { ...withKey(), 'content-length': '600000' }, body });
  assert.equal(refused.status, 429);
  assert.equal(JSON.parse(refused.text).error.data.setting, 'bodiesBytesPerKey');
  // An anonymous caller is another owner; so is each address.
  const group = await ask('127.0.0.4', { path: '/mcp/open', body: `${PING}${' '.repeat(600_000)}` });
  assert.equal(group.status, 200);
  first.destroy();
  await until(async () => (await held()) === 0, 5000, 'the first body to be given back');
  assert.equal((await ask('127.0.0.3', { headers: withKey(), body: `${PING}${' '.repeat(600_000)}` })).status, 200);
});

async function held(): Promise<number> {
  const { text } = await ask('127.0.0.8', { path: '/api/ceilings', method: 'GET', headers: withKey() });
  const { ceilings } = JSON.parse(text) as { ceilings: { name: string; size: number }[] };
  return ceilings.find(({ name }) => name === 'downstream.body-bytes')?.size ?? -1;
}

// finding: SR-M7
test('a forwarding header counts only from a trusted proxy', async () => {
  const named = (at: number): IncomingHttpHeaders => ({ 'x-forwarded-for': `203.0.113.${at}` });
  // Whoever sends it could name any address: it is one address that asks.
  const direct = [];
  for (let at = 0; at < 10; at += 1) direct.push(await ask('127.0.0.20', { headers: named(at) }));
  const limited = direct.filter(({ status }) => status === 429);
  assert.ok(limited.length > 0);
  assert.match(JSON.parse(limited[0]?.text ?? '').error.message, /settings\.trustedProxies/);
  const proxied = [];
  for (let at = 0; at < 10; at += 1) proxied.push(await ask(PROXY, { headers: named(at) }));
  assert.ok(proxied.every(({ status }) => status === 401));
  // One client behind the proxy is limited, and no other.
  const same = [];
  for (let at = 0; at < 10; at += 1) same.push(await ask(PROXY, { headers: named(99) }));
  assert.ok(same.some(({ status }) => status === 429));
  assert.equal((await ask(PROXY, { headers: named(98) })).status, 401);
});

// finding: SR-M7
test('a request that came through a proxy finds no group open, whatever the proxy adds', async () => {
  // Its own bucket of requests without a key, and some time to fill.
  const from = (at: number): string => `127.0.2.${at + 1}`;
  assert.equal((await ask(from(0), { path: '/mcp/open' })).status, 200);
  const headers: IncomingHttpHeaders[] = [
    ...[
      { via: '1.1 x' },
      { 'x-real-ip': '203.0.113.1' },
      { 'x-forwarded-for': '203.0.113.1' },
      { forwarded: 'for=203.0.113.1' },
    ],
    ...[
      { 'x-forwarded-host': 'x' },
      { 'x-forwarded-proto': 'https' },
      { 'cf-connecting-ip': '203.0.113.1' },
      { 'true-client-ip': 'x' },
    ],
    { host: '192.0.2.1' },
  ];
  for (const [at, one] of headers.entries())
    assert.equal((await ask(from(at + 1), { path: '/mcp/open', headers: one })).status, 401, JSON.stringify(one));
  const old = open(
    '127.0.2.200',
    `POST /mcp/open HTTP/1.0\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: ${PING.length}\r\n\r\n${PING}`,
  );
  const answer = await new Promise<string>((done) => old.once('data', (chunk) => done(chunk.toString('latin1'))));
  assert.match(answer, /^HTTP\/1\.1 401 /);
});
