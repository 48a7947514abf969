/**
 * A server that ends the stream of an answer early (polling), or loses it: the rest is fetched, and no call is made
 * twice.
 */
// covers: B10
import assert from 'node:assert/strict';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { callParams, type HttpRig, httpRig } from '../../../../test/support/http-rig.ts';

type Answer = (response: ServerResponse, lastEventId: string | undefined, id: number) => void;

interface Polled {
  readonly url: string;
  readonly calls: () => number;
  /** `Last-Event-ID` of each GET that had one. */
  readonly fetched: string[];
  close(): Promise<void>;
}

/** Answers the handshake; `post` answers a call, and `get` the GETs that continue it. */
async function startPolled(post: Answer, get: Answer): Promise<Polled> {
  let calls = 0;
  let callId = 0;
  const fetched: string[] = [];
  const json = (response: ServerResponse, id: number, result: unknown) =>
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ jsonrpc: '2.0', id, result }));
  const take = (request: IncomingMessage, response: ServerResponse, body: string): void => {
    if (request.method === 'GET') {
      const lastEventId = request.headers['last-event-id'];
      if (typeof lastEventId !== 'string') return void response.writeHead(405).end();
      fetched.push(lastEventId);
      return get(response, lastEventId, callId);
    }
    if (request.method === 'DELETE') return void response.writeHead(200).end();
    const { id, method } = JSON.parse(body);
    if (id === undefined) return void response.writeHead(202).end();
    const serverInfo = { name: 'polled', version: '1' };
    if (method === 'initialize')
      return void json(response, id, { protocolVersion: '2025-11-25', capabilities: { tools: {} }, serverInfo });
    if (method !== 'tools/call') return void json(response, id, {});
    calls += 1;
    callId = id;
    post(response, undefined, id);
  };
  const server = createServer((request, response) => {
    let body = '';
    request.on('data', (chunk: Buffer) => {
      body += chunk.toString('utf8');
    });
    request.on('end', () => take(request, response, body));
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/mcp`,
    calls: () => calls,
    fetched,
    async close() {
      server.closeAllConnections();
      await new Promise<void>((done) => server.close(() => done()));
    },
  };
}

async function withPolled(
  post: Answer,
  get: Answer,
  run: (rig: HttpRig, server: Polled) => Promise<void>,
): Promise<void> {
  const server = await startPolled(post, get);
  const rig = await httpRig(server.url);
  try {
    await rig.shakeHands();
    await run(rig, server);
  } finally {
    await rig.close();
    await server.close();
  }
}

const events = (response: ServerResponse) => response.writeHead(200, { 'content-type': 'text/event-stream' });
const result = (id: number): string =>
  JSON.stringify({ jsonrpc: '2.0', id, result: { content: [{ type: 'text', text: 'at last' }] } });

test('a stream that ends early is taken up again from where it was; an abort ends the looking', async () => {
  await withPolled(
    (response) => events(response).end('id: p-1\nretry: 60\ndata: \n\n'),
    (response, from) => {
      if (from === 'p-1') events(response).end('id: p-2\ndata: \n\n');
      else events(response).end();
    },
    async (rig, server) => {
      const id = rig.begin('tools/call', callParams('slow', {}));
      await rig.until(() => server.fetched.length >= 3, 'a second look at the same place');
      assert.deepEqual(server.fetched.slice(0, 3), ['p-1', 'p-2', 'p-2']);
      rig.transport.abort(id);
      const looks = server.fetched.length;
      await rig.ask('ping');
      await new Promise((done) => setTimeout(done, 300));
      assert.ok(server.fetched.length <= looks + 1, `${server.fetched.length} looks, ${looks} before the abort`);
      assert.equal(server.calls(), 1);
    },
  );
});

test('the rest of an answer that was cut off comes once, and the call was made once', async () => {
  await withPolled(
    (response) => {
      events(response).write(
        'id: a\nretry: 50\ndata: {"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":1}}\n\n',
      );
      setTimeout(() => response.destroy(), 50);
    },
    (response, _from, id) => events(response).end(`id: b\ndata: ${result(id)}\n\n`),
    async (rig, server) => {
      assert.match(await rig.ask('tools/call', callParams('slow', {})), /at last/);
      assert.deepEqual([server.calls(), server.fetched], [1, ['a']]);
    },
  );
});

test('a server that cannot go on ends the call with an unknown outcome, and it is not made again', async () => {
  for (const status of [400, 404, 405, 500]) {
    await withPolled(
      (response) => events(response).end('id: a\nretry: 50\ndata: \n\n'),
      (response) => response.writeHead(status).end(),
      async (rig, server) => {
        await assert.rejects(
          rig.ask('tools/call', callParams('slow', {})),
          (fault: { code: string; detail: { outcome: string } }) => {
            assert.deepEqual([fault.code, fault.detail.outcome], ['upstream-gone', 'unknown'], String(status));
            return true;
          },
        );
        assert.deepEqual([server.calls(), server.fetched], [1, ['a']]);
      },
    );
  }
});

test('a stream without an id cannot be taken up again', async () => {
  await withPolled(
    (response) =>
      events(response).end(
        'data: {"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":1}}\n\n',
      ),
    (response) => response.writeHead(500).end(),
    async (rig, server) => {
      await assert.rejects(rig.ask('tools/call', callParams('slow', {})), { code: 'upstream-gone' });
      assert.deepEqual(server.fetched, []);
    },
  );
});
