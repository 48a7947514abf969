import assert from 'node:assert/strict';
import type { ServerResponse } from 'node:http';
import { connect, type Socket } from 'node:net';
import { test } from 'node:test';
import { until } from '../../test/support/hub.ts';
import { limitsFrom } from '../config/limits.ts';
import { createRuntime } from '../runtime/runtime.ts';
import { writeFrame, writeJson, writePieces } from './http-answer.ts';
import { Listener } from './listener.ts';
import type { Handler } from './router.ts';
import { SlowReaders } from './slow-reader.ts';

const EMPTY = Buffer.alloc(0);
/** More than the kernel buffers of a connection hold. */
const LARGE = Buffer.alloc(24 * 1024 * 1024, 'x');
const WRITERS: Readonly<Record<string, Handler>> = {
  writeJson: (_, response) => writeJson(response, 200, LARGE),
  writeFrame: (_, response) => writeFrame(response, { head: '', middle: LARGE, tail: '' }),
  writePieces: (_, response) => writePieces(response, [LARGE, EMPTY]),
  'response.end': (_, response) => response.end(LARGE),
};

for (const [name, handler] of Object.entries(WRITERS)) {
  // finding: SR-N4
  test(`an answer of ${name} that its reader does not take is cut after streamSlowMs`, async () => {
    const runtime = createRuntime();
    const limits = limitsFrom({ streamSlowMs: 1000 });
    const slowReaders = new SlowReaders({ runtime, limits });
    const listener = new Listener({
      runtime,
      limits,
      name: 'test',
      handler,
      slowReaders,
      proxies: { has: () => false },
    });
    const port = await listener.listen({ port: 0, host: '127.0.0.1' }, runtime.deadline(5000));
    const cut = Promise.withResolvers<void>();
    runtime.bus.listen(({ type }) => type === 'reader-cut' && cut.resolve());
    const socket: Socket = connect(port, '127.0.0.1');
    socket.on('error', () => {});
    socket.pause();
    socket.write('GET / HTTP/1.1\r\nhost: x\r\n\r\n');
    await cut.promise;
    assert.equal(slowReaders.bytes, 0);
    socket.destroy();
    await listener.stop(runtime.deadline(1000));
  });
}

test('every request is counted once, and so is its response, by class', async () => {
  const runtime = createRuntime();
  const limits = limitsFrom({});
  const slowReaders = new SlowReaders({ runtime, limits });
  const held: ServerResponse[] = [];
  const handler: Handler = ({ url }, response) => {
    if (url === '/held') held.push(response);
    else response.writeHead(Number(url?.slice(1))).end();
  };
  const parts = { runtime, limits, name: 'test', handler, slowReaders, proxies: { has: () => false } };
  const listener = new Listener(parts);
  const port = await listener.listen({ port: 0, host: '127.0.0.1' }, runtime.deadline(5000));
  const get = (path: string): string => `GET ${path} HTTP/1.1\r\nhost: x\r\n\r\n`;
  const socket = connect(port, '127.0.0.1');
  socket.resume();
  socket.write(['/200', '/204', '/302', '/404', '/429', '/503'].map(get).join(''));
  await until(() => listener.counts()['5xx'] === 1, 2000);
  assert.deepEqual(listener.counts(), {
    ...{ requests: 6, '2xx': 2, '3xx': 1, '4xx': 2, '5xx': 1 },
    ...{ aborted: 0, rejected: 0 },
  });
  socket.write(get('/held'));
  await until(() => held.length === 1, 2000);
  socket.destroy();
  await until(() => listener.counts().aborted === 1, 2000);
  const other = connect(port, '127.0.0.1');
  other.resume();
  other.write('NONSENSE\r\n\r\n');
  await until(() => listener.counts().rejected === 1, 2000);
  assert.equal(listener.counts().requests, 7);
  await listener.stop(runtime.deadline(1000));
});

test('a client that keeps its half open after an error does not keep the connection', async () => {
  const runtime = createRuntime();
  const limits = limitsFrom({ headersMs: 1000, discardMs: 100 });
  const slowReaders = new SlowReaders({ runtime, limits });
  const handler: Handler = (_, response) => void response.end();
  const listener = new Listener({
    runtime,
    limits,
    name: 'test',
    handler,
    slowReaders,
    proxies: { has: () => false },
  });
  const port = await listener.listen({ port: 0, host: '127.0.0.1' }, runtime.deadline(5000));
  const sent = ['GET / HT', '', 'NONSENSE\r\n\r\n', 'CONNECT x:80 HTTP/1.1\r\nhost: x\r\n\r\n'];
  const answers = sent.map(() => '');
  const sockets = sent.map((text, at) => {
    const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    socket
      .on('error', () => {})
      .on('data', (chunk: Buffer) => {
        answers[at] += chunk.toString();
      });
    socket.write(text);
    return socket;
  });
  try {
    await until(() => answers.every((answer) => answer.endsWith('}')), 5000);
    const statuses = answers.map((answer) => answer.slice(9, 12));
    assert.deepEqual(statuses, ['408', '408', '400', '405']);
    assert.equal(listener.counts().rejected, 4);
    await until(() => listener.connections === 0, 5000);
  } finally {
    for (const socket of sockets) socket.destroy();
    await listener.stop(runtime.deadline(1000));
  }
});

test('a JSON answer has the same headers whether its head was prepared or built, and says when the connection closes', async () => {
  const runtime = createRuntime();
  const limits = limitsFrom({});
  const slowReaders = new SlowReaders({ runtime, limits });
  const pieces = { head: '{"text":"', middle: Buffer.from('안녕'), tail: '"}' };
  const handler: Handler = (request, response) => {
    request.resume();
    request.on('end', () => writeFrame(response, pieces));
  };
  const listener = new Listener({
    runtime,
    limits,
    name: 'test',
    handler,
    slowReaders,
    proxies: { has: () => false },
  });
  const port = await listener.listen({ port: 0, host: '127.0.0.1' }, runtime.deadline(5000));
  const ask = async (start: string, more = ''): Promise<{ lines: string[]; body: string }> => {
    const socket = connect(port, '127.0.0.1');
    let text = '';
    socket.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk;
    });
    socket.write(`${start}\r\nhost: x\r\n${more}content-length: 2\r\n\r\n{}`);
    await until(() => text.endsWith('}'), 2000);
    socket.destroy();
    const [head = '', body = ''] = text.split('\r\n\r\n');
    const withoutTime = head.toLowerCase().replace(/^(date: \w+, \d+ \w+ \d+) .*$/m, '$1');
    return { lines: withoutTime.split('\r\n').sort(), body };
  };
  const prepared = await ask('POST / HTTP/1.1');
  assert.deepEqual(prepared, await ask('PUT / HTTP/1.1'));
  assert.equal(prepared.body, '{"text":"안녕"}');
  for (const expected of ['http/1.1 200 ok', 'content-length: 17', 'connection: keep-alive', 'cache-control: no-store'])
    assert.ok(prepared.lines.includes(expected), expected);
  assert.ok((await ask('POST / HTTP/1.1', 'connection: close\r\n')).lines.includes('connection: close'));
  assert.ok((await ask('POST / HTTP/1.0')).lines.includes('connection: close'));
  listener.retire();
  assert.ok((await ask('POST / HTTP/1.1')).lines.includes('connection: close'));
  await listener.stop(runtime.deadline(1000));
});
