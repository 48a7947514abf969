/**
 * SR-M1, SR-M9, SR-N1: the headers of a request decide who sends it, before a byte of its body is read, parsed or
 * passed on.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { request as httpRequest } from 'node:http';
import { connect } from 'node:net';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { type RunningHub, startHub } from '../support/hub.ts';
import { openSession } from '../support/mcp.ts';
import { startNginx } from '../support/nginx.ts';
import { rawExchange } from '../support/raw-client.ts';

const WRONG = `Bearer mcphub_${'0'.repeat(64)}`;
const MiB = 1024 * 1024;
/** Paths that read a body, and what else their requests need. */
const POSTS = [
  '/mcp',
  '/mcp/nobody',
  '/messages?sessionId=1-AAAAAAAAAAAAAAAAAAAAAA',
  '/messages?sessionId=2-AAAAAAAAAAAAAAAAAAAAAA',
  '/api/keys',
];

let hub: RunningHub;
before(async () => {
  hub = await startHub({
    config: { mcpServers: {} },
    env: { MCPHUB_WORKERS: '2', MCPHUB_ADDRESS_PER_SECOND: '1000', MCPHUB_FAILED_KEYS_PER_MINUTE: '1000' },
  });
});
after(async () => {
  await hub[Symbol.asyncDispose]();
});

function head(path: string, ...fields: readonly string[]): string {
  return [`POST ${path} HTTP/1.1`, 'Host: 127.0.0.1', 'Content-Type: application/json', ...fields, '', ''].join('\r\n');
}

interface Error {
  readonly jsonrpc: string;
  readonly id: unknown;
  readonly error: { readonly code: unknown; readonly data: { readonly code: string } };
}

async function ceiling(name: string): Promise<{ peak: number; size: number }> {
  // Each request may reach either worker: the highest of several answers counts.
  let [peak, size] = [0, 0];
  for (let look = 0; look < 6; look += 1) {
    const answer = await fetch(`${hub.url}/api/ceilings`, {
      headers: { authorization: `Bearer ${hub.key}`, connection: 'close' },
    });
    const { ceilings } = (await answer.json()) as { ceilings: { name: string; peak: number; size: number }[] };
    const row = ceilings.find((one) => one.name === name);
    peak = Math.max(peak, row?.peak ?? 0);
    size = Math.max(size, row?.size ?? 0);
  }
  return { peak, size };
}

// finding: SR-M1, SR-N1
test('returns 401 before the body has come when the key is missing or wrong, and closes the connection', async () => {
  const tries = POSTS.flatMap((path) => [[], [`Authorization: ${WRONG}`]].map((key) => ({ path, key })));
  const exchanges = tries.map(async ({ path, key }) => {
    const { answers, closed } = await rawExchange(hub, [head(path, ...key, 'Content-Length: 1000000'), '{"jsonrpc"']);
    const [answer] = answers;
    assert.deepEqual([answers.length, answer?.status, closed], [1, 401, true], `${path} ${key}`);
    const { jsonrpc, id, error } = JSON.parse(answer?.body ?? '') as Error;
    if (path.startsWith('/api/')) assert.equal(error.code, 'unauthorized', 'errors of the API have one shape');
    else assert.deepEqual([jsonrpc, id, error.code, error.data.code], ['2.0', null, -32001, 'unauthorized']);
    assert.equal(answer?.headers.connection, 'close');
  });
  await Promise.all(exchanges);
});

// finding: SR-M1
test('never asks a caller without a key for its body with 100 Continue, and asks one with a key', async () => {
  const expect = 'Expect: 100-continue';
  const stranger = await rawExchange(hub, [head('/mcp', expect, 'Content-Length: 100')], { timeoutMs: 3000 });
  assert.deepEqual([stranger.answers.length, stranger.answers[0]?.status], [1, 401]);
  const ping = '{"jsonrpc":"2.0","id":1,"method":"ping"}';
  const key = [`Authorization: Bearer ${hub.key}`, 'Connection: close'];
  const socket = connect(hub.port, '127.0.0.1');
  let text = '';
  await new Promise<void>((done) => {
    socket.on('data', (chunk) => {
      text += chunk.toString('latin1');
      if (text === 'HTTP/1.1 100 Continue\r\n\r\n') socket.write(ping);
    });
    socket.on('close', () => done());
    socket.write(head('/mcp', ...key, expect, `Content-Length: ${ping.length}`));
  });
  assert.match(text, /^HTTP\/1\.1 100 Continue\r\n\r\nHTTP\/1\.1 200 OK\r\n/);
});

test('returns 413 to a caller with a key without asking for the body, and 417 for an unknown expectation', async () => {
  const key = `Authorization: Bearer ${hub.key}`;
  const large = await rawExchange(hub, [head('/mcp', key, 'Expect: 100-continue', `Content-Length: ${64 * MiB}`)]);
  assert.deepEqual([large.answers.length, large.answers[0]?.status, large.closed], [1, 413, true]);
  const odd = await rawExchange(hub, [head('/mcp', 'Expect: zz', 'Content-Length: 100')]);
  assert.deepEqual([odd.answers.length, odd.answers[0]?.status, odd.closed], [1, 417, true]);
  assert.equal((JSON.parse(odd.answers[0]?.body ?? '') as Error).error.data.code, 'expectation-failed');
});

test('reads at most 64 KiB of a refused body, and closes within a second or so', async () => {
  const socket = connect(hub.port, '127.0.0.1');
  socket.on('error', () => {});
  const beganMs = performance.now();
  let answered = '';
  socket.on('data', (chunk) => {
    answered += chunk.toString('latin1');
  });
  socket.write(head('/mcp', `Content-Length: ${64 * MiB}`));
  const piece = Buffer.alloc(MiB, 0x20);
  const push = (): void => {
    if (socket.destroyed) return;
    while (socket.write(piece));
  };
  socket.on('drain', push);
  push();
  await new Promise<void>((done) => socket.on('close', () => done()));
  assert.match(answered, /^HTTP\/1\.1 401 /);
  assert.ok(performance.now() - beganMs < 4000);
  assert.ok(socket.bytesWritten < 16 * MiB, `${socket.bytesWritten} bytes were taken`);
});

test('clients that send a large body without a key see the 401: fetch, node:http and curl', async () => {
  const body = Buffer.alloc(4 * MiB, 0x20);
  const headers = { 'content-type': 'application/json' };
  for (let round = 0; round < 5; round += 1) {
    const answer = await fetch(`${hub.url}/mcp`, { method: 'POST', headers, body });
    assert.equal(answer.status, 401);
    assert.equal(((await answer.json()) as Error).error.data.code, 'unauthorized');
    const status = await new Promise<number>((done, fail) => {
      const sent = httpRequest(`${hub.url}/mcp`, { method: 'POST', headers }, (response) => {
        response.resume();
        done(response.statusCode ?? 0);
      });
      sent.on('error', fail);
      sent.end(body);
    });
    assert.equal(status, 401);
  }
  const curl = promisify(execFile)('curl', [
    '-sS',
    '-o',
    '/dev/null',
    '-w',
    '%{http_code}',
    '-H',
    'content-type: application/json',
    '--data-binary',
    '@-',
    `${hub.url}/mcp`,
  ]);
  curl.child.stdin?.on('error', () => {});
  curl.child.stdin?.end(body);
  assert.equal((await curl).stdout, '401');
});

test('a client behind nginx sees the 401 for a large body, whether nginx buffers requests or not', async () => {
  const body = Buffer.alloc(900_000, 0x20);
  for (const buffering of ['on', 'off']) {
    const directives = `proxy_http_version 1.1; client_body_buffer_size 1m; proxy_request_buffering ${buffering};`;
    await using nginx = await startNginx(hub.port, directives);
    for (let round = 0; round < 10; round += 1) {
      const answer = await fetch(`http://127.0.0.1:${nginx.port}/mcp`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body,
      });
      assert.equal(answer.status, 401, buffering);
      await answer.arrayBuffer();
    }
  }
});

test('the connection stays open for the next request after a body that was read, also when that was refused', async () => {
  const key = `Authorization: Bearer ${hub.key}`;
  const bad = '{"jsonrpc":"2.0"}';
  const ping = '{"jsonrpc":"2.0","id":1,"method":"ping"}';
  const { answers } = await rawExchange(hub, [
    head('/mcp', key, `Content-Length: ${bad.length}`) + bad,
    head('/mcp', key, `Content-Length: ${ping.length}`, 'Connection: close') + ping,
  ]);
  assert.deepEqual(
    answers.map(({ status }) => status),
    [400, 200],
  );
});

// finding: SR-M9
test('passes nothing on to another worker for a caller without a key, whatever the message names', async () => {
  const before = await ceiling('downstream.siblings');
  const session = await openSession(`${hub.url}/mcp`, hub.key);
  const messages = [
    '{"jsonrpc":"2.0","id":"mcphub-1-AAAAAAAA-1","result":{}}',
    '{"jsonrpc":"2.0","id":"mcphub-2-AAAAAAAA-1","result":{}}',
    '{"jsonrpc":"2.0","id":"mcphub-9-AAAAAAAA-1","result":{}}',
    '{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}',
    '{"jsonrpc":"2.0","id":1,"method":"ping"}',
  ];
  const paths = [
    '/mcp',
    '/messages?sessionId=1-AAAAAAAAAAAAAAAAAAAAAA',
    '/messages?sessionId=2-AAAAAAAAAAAAAAAAAAAAAA',
    '/messages?sessionId=77-AAAAAAAAAAAAAAAAAAAAAA',
  ];
  for (const path of paths)
    for (const message of messages)
      for (const key of [[], [`Authorization: ${WRONG}`]]) {
        const fields = [...key, `Mcp-Session-Id: ${session}`, `Content-Length: ${message.length}`];
        const { answers } = await rawExchange(hub, [head(path, ...fields) + message]);
        assert.deepEqual(
          answers.map(({ status }) => status),
          [401],
          `${path} ${message}`,
        );
      }
  assert.deepEqual(await ceiling('downstream.siblings'), before);
});

test('passes a cancellation or a reply on only for a session that is the caller’s own, and of a cancellation only the id', async () => {
  const { peak } = await ceiling('downstream.siblings');
  assert.equal(peak, 0);
  const key = `Authorization: Bearer ${hub.key}`;
  const send = async (message: string, session: string): Promise<number | undefined> => {
    const fields = [key, `Mcp-Session-Id: ${session}`, `Content-Length: ${message.length}`, 'Connection: close'];
    const { answers } = await rawExchange(hub, [head('/mcp', ...fields) + message]);
    return answers[0]?.status;
  };
  const cancel = `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1,"reason":"${'x'.repeat(1000)}"}}`;
  for (const message of [
    cancel,
    '{"jsonrpc":"2.0","id":"mcphub-2-AAAAAAAA-1","result":{}}',
    '{"jsonrpc":"2.0","id":"mcphub-1-AAAAAAAA-1","result":{}}',
  ])
    assert.equal(await send(message, 'not-a-session'), 404, message.slice(0, 60));
  assert.equal((await ceiling('downstream.siblings')).peak, 0);
  const session = await openSession(`${hub.url}/mcp`, hub.key);
  assert.equal(await send(cancel, session), 202);
  assert.equal((await ceiling('downstream.siblings')).peak, 1);
});

test('a GET or DELETE with a body is refused, and its connection is closed', async () => {
  for (const method of ['GET', 'DELETE']) {
    const request = head('/mcp', `Authorization: Bearer ${hub.key}`, 'Content-Length: 5').replace('POST', method);
    const { answers, closed } = await rawExchange(hub, [request, 'GET /']);
    assert.deepEqual([answers.length, answers[0]?.status, closed], [1, 400, true]);
  }
});

// finding: SR-L9
test('every answer has nosniff, no-store and no-referrer, and pages cannot be framed', async () => {
  const authorized = { authorization: `Bearer ${hub.key}` };
  const requests: [string, RequestInit][] = [
    ['/', {}],
    ['/health', {}],
    ['/api/health', {}],
    ['/api/keys', { headers: authorized }],
    ['/api/waits', { headers: authorized }],
    ['/nothing', {}],
    ['/mcp', {}],
    [
      '/mcp',
      {
        method: 'POST',
        headers: { ...authorized, 'content-type': 'application/json' },
        body: '{"jsonrpc":"2.0","id":1,"method":"ping"}',
      },
    ],
    ['/mcp', { method: 'PUT', headers: authorized }],
    ['/mcp', { headers: { ...authorized, origin: 'https://evil.example' } }],
  ];
  for (const [path, init] of requests) {
    const { headers } = await fetch(`${hub.url}${path}`, init);
    const what = `${init.method ?? 'GET'} ${path}`;
    assert.equal(headers.get('x-content-type-options'), 'nosniff', what);
    assert.equal(headers.get('referrer-policy'), 'no-referrer', what);
    assert.match(headers.get('cache-control') ?? '', /no-store/, what);
  }
  const page = await fetch(`${hub.url}/`, { headers: { accept: 'text/html' } });
  assert.match(page.headers.get('content-type') ?? '', /^text\/html/);
  assert.match(page.headers.get('content-security-policy') ?? '', /frame-ancestors 'none'/);
});
