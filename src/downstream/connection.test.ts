/**
 * Requests that wait on their connection, with a real server and sockets.
 */
import assert from 'node:assert/strict';
import { createServer, ServerResponse } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { test } from 'node:test';
import { until } from '../../test/support/hub.ts';
import { createRuntime } from '../runtime/runtime.ts';
import { Connection } from './connection.ts';
import { guardedClasses } from './guarded-http.ts';

interface Rig extends AsyncDisposable {
  readonly client: Socket;
  /** Responses of requests that were started, in order. */
  readonly started: readonly ServerResponse[];
  readonly heard: () => string;
  /** Bytes that the server has read. */
  readonly bytesRead: () => number;
  readonly isClosed: () => boolean;
}

async function rig(maxWaitingBytes: number): Promise<Rig> {
  const started: ServerResponse[] = [];
  const connections = new Map<Socket, Connection>();
  const start = (arrived: { response: ServerResponse }): void => void started.push(arrived.response);
  const parts = { maxWaiting: () => 16, maxWaitingBytes: () => maxWaitingBytes, start, ended() {}, idle() {} };
  const server = createServer({ ...guardedClasses(createRuntime(), ServerResponse, () => {}) });
  server.on('connection', (socket: Socket) => connections.set(socket, new Connection(socket, parts)));
  server.on('request', (request, response) =>
    connections.get(request.socket)?.take({ request, response, handle() {} }),
  );
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const client = connect((server.address() as AddressInfo).port, '127.0.0.1');
  let text = '';
  let closed = false;
  client.on('data', (chunk) => {
    text += chunk.toString('latin1');
  });
  client.on('error', () => {});
  client.on('close', () => {
    closed = true;
  });
  client.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
  await until(() => started.length === 1, 5000, 'the first request');
  return {
    ...{ client, started, heard: () => text, isClosed: () => closed },
    bytesRead: () => [...connections.keys()][0]?.bytesRead ?? 0,
    async [Symbol.asyncDispose]() {
      client.destroy();
      await new Promise((done) => server.close(done));
    },
  };
}

function post(bytes: number): string {
  return `POST / HTTP/1.1\r\nHost: x\r\nContent-Length: ${bytes}\r\n\r\n${' '.repeat(bytes)}`;
}

test('requests that wait are answered in order', async () => {
  await using at = await rig(65_536);
  for (let sent = 0; sent < 12; sent += 1) at.client.write(post(1000));
  for (let answered = 0; answered < 13; answered += 1) {
    await until(() => at.started.length > answered, 5000, `request ${answered}`);
    const response = at.started[answered] as ServerResponse;
    response.req.resume().once('end', () => response.end(`answer ${answered};`));
  }
  await until(() => at.heard().includes('answer 12;'), 5000, 'all answers');
  const order = [...at.heard().matchAll(/answer (\d+);/g)].map(([, number]) => Number(number));
  assert.deepEqual(
    order,
    [...order].sort((a, b) => a - b),
  );
});

// finding: SR-A6
test('a connection is closed when the requests that wait announce too many bytes', async () => {
  await using at = await rig(65_536);
  at.client.write(post(50_000));
  at.client.write(post(50_000));
  await until(at.isClosed, 5000, 'the close');
  assert.equal(at.started.length, 1);
});

// finding: SR-A6
test('a connection is closed when the requests that wait bring too many bytes', async () => {
  await using at = await rig(65_536);
  const head = `GET / HTTP/1.1\r\nHost: x\r\nX: ${'a'.repeat(15_000)}\r\n\r\n`;
  for (let sent = 0; sent < 15 && !at.isClosed(); sent += 1) {
    at.client.write(head);
    await until(() => at.isClosed() || at.bytesRead() >= (sent + 1) * head.length, 5000, `head ${sent}`);
  }
  await until(at.isClosed, 5000, 'the close');
  assert.equal(at.started.length, 1);
});
