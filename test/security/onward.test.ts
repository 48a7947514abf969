/**
 * SR-C1: every file that sends a request onward frames it by a length, whatever body it was given and whatever the
 * client sent. `test/architecture/senders.test.ts` holds the list of these files and demands a test here for each.
 */
import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http';
import { type AddressInfo, createServer as createSocketServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { createHubAsker } from '../../src/admin/ask-hub.ts';
import { sendRequest } from '../../src/bridge/request.ts';
import type { Caller, RequestContext } from '../../src/call/call.ts';
import { hasTool } from '../../src/chaos/_load.ts';
import { limitsFrom } from '../../src/config/limits.ts';
import { Authorized } from '../../src/downstream/authorized.ts';
import { Bodies } from '../../src/downstream/bodies.ts';
import { readBody } from '../../src/downstream/body.ts';
import { Forward } from '../../src/downstream/forward.ts';
import { PeerWorkers } from '../../src/downstream/peer-workers.ts';
import { isRefusal } from '../../src/model/outcome.ts';
import { LOCAL_PRINCIPAL } from '../../src/model/principal.ts';
import type { ServerSpec } from '../../src/model/snapshot.ts';
import { createEgress } from '../../src/net/egress.ts';
import { askControl } from '../../src/operator/hub-request.ts';
import { createRuntime } from '../../src/runtime/runtime.ts';
import { ProcessProbe } from '../../src/supervisor/process-probe.ts';
import { createForwardTransport } from '../../src/upstream/transport/peer/forward.ts';
import { until } from '../support/hub.ts';
import { type OnwardRequest, startRecorder } from '../support/onward.ts';
import { rawExchange } from '../support/raw-client.ts';
import { accessOf } from '../support/small-worlds.ts';

const METHODS = ['GET', 'HEAD', 'DELETE', 'OPTIONS', 'TRACE', 'POST', 'PUT', 'PATCH', 'PROPFIND'] as const;
const SMUGGLED = 'POST /api/keys HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}';
const KEY = `mcphub_${'0'.repeat(64)}`;
const runtime = createRuntime();
const limits = limitsFrom({});
const authorized = Authorized.from(
  { identify: () => ({ principal: { ...LOCAL_PRINCIPAL, keyId: 'k_1' } }) as unknown as Caller },
  {} as RequestContext,
) as Authorized;

let dir = '';
before(() => {
  dir = mkdtempSync(join(tmpdir(), 'mcphub-on-'));
  mkdirSync(join(dir, 'run'));
});
after(() => {
  rmSync(dir, { recursive: true, force: true });
});

/** Each is framed by a length or has no body, and none of them is what a body said. */
function assertFramed(requests: readonly OnwardRequest[], expected: number): void {
  assert.equal(requests.length, expected);
  for (const { method, path, headers } of requests) {
    assert.notEqual(path, '/api/keys', `${method} ${path}`);
    assert.equal(headers['transfer-encoding'], undefined, `${method} ${path}`);
  }
}

/** Sends every method with the body in both framings, and headers that must not travel on, to `listener`. */
async function everyMethod(listener: RequestListener, path: string): Promise<number> {
  const server = createServer(listener);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  let answered = 0;
  for (const method of METHODS) {
    for (const framing of ['none', 'content-length', 'chunked'] as const) {
      const head = [
        `${method} ${path}?key=${KEY}&sessionId=a%20b HTTP/1.1`,
        'Host: 127.0.0.1',
        'Connection: close, x-named',
        'X-Named: 1',
        'Cookie: a=b',
        'TE: trailers',
        'X-Mcphub-Role: owner',
        'X-Mcphub-Worker: guessed',
        'X-Mcphub-Key-Id: k_2',
        'X-Mcphub-Hop: 1',
        'X-Forwarded-For: 10.0.0.1',
        'Mcp-Session-Id: s1',
        'Mcp-Param-Zone: z',
      ];
      const length = Buffer.byteLength(SMUGGLED);
      const more = framing === 'content-length' ? [`Content-Length: ${length}`] : ['Transfer-Encoding: chunked'];
      const chunked = `${length.toString(16)}\r\n${SMUGGLED}\r\n0\r\n\r\n`;
      const body = framing === 'none' ? '' : framing === 'chunked' ? chunked : SMUGGLED;
      const text = `${[...head, ...(framing === 'none' ? [] : more)].join('\r\n')}\r\n\r\n${body}`;
      const { answers } = await rawExchange({ port }, [text], { methods: [method] });
      answered += answers.filter(({ status }) => status === 200).length;
    }
  }
  server.closeAllConnections();
  await new Promise<void>((resolve) => server.close(() => resolve()));
  return answered;
}

test('downstream/forward.ts sends on GET, POST and DELETE, with its own headers and a length', async () => {
  const socketPath = join(dir, 'workers.sock');
  await using control = await startRecorder(socketPath);
  const forward = new Forward({
    runtime,
    limits,
    bodies: new Bodies({ runtime, limits }),
    socketPath,
    token: () => 'token',
  });
  const path = '/api/status';
  const answered = await everyMethod((ask, answer) => forward.send(ask, answer, { path, authorized }), path);
  const requests = control.requests();
  assertFramed(requests, answered);
  // POST in three framings; GET and DELETE without a body.
  assert.equal(answered, 5);
  for (const { headers, method, body, path: sent } of requests) {
    assert.equal(sent, '/api/status');
    assert.ok(method === 'POST' || body === '');
    const type = body === '' ? [] : ['content-type'];
    const own = ['connection', 'content-length', 'host', 'x-mcphub-key-id', 'x-mcphub-role', 'x-mcphub-worker'];
    assert.deepEqual(Object.keys(headers).sort(), [...own, ...type].sort());
    assert.deepEqual([headers['x-mcphub-worker'], headers['x-mcphub-key-id']], ['token', 'k_1']);
  }
});

test('downstream/peer-workers.ts sends on GET, POST and DELETE, with listed headers, without the query, and a length', async () => {
  await using sibling = await startRecorder(join(dir, 'front-2.sock'));
  const siblings = new PeerWorkers({
    ...{ runtime, limits },
    frontSocket: (slot) => join(dir, `front-${slot}.sock`),
    token: () => 'token',
  });
  const to = { slot: 2, owner: 'a key', access: accessOf('a key') };
  const listener: RequestListener = (request, response) => {
    const away = (): void => void response.writeHead(404, { connection: 'close' }).end();
    if (request.method !== 'POST') return siblings.pass(request, response, { ...to, body: undefined, away });
    readBody(
      { request, response, authorized },
      { runtime, limits, bodies: new Bodies({ runtime, limits }) },
      (body) => {
        if (isRefusal(body)) return away();
        siblings.tell(request, { ...to, body });
        siblings.pass(request, response, { ...to, body, away });
      },
    );
  };
  for (const path of ['/mcp', '/messages']) {
    const answered = await everyMethod(listener, path);
    assert.equal(answered, 9);
  }
  // A message that nobody waits for goes beside each POST.
  await until(() => sibling.requests().length === 24, 5000, 'the last message');
  const requests = sibling.requests();
  assertFramed(requests, 24);
  for (const { method, path, headers, body } of requests) {
    assert.ok(path === '/mcp' || path === '/messages?sessionId=a%20b', path);
    assert.ok(method === 'POST' || body === '');
    const passed = ['connection', 'content-length', 'host', 'mcp-param-zone', 'mcp-session-id', 'via'];
    const own = ['x-mcphub-client-address', 'x-mcphub-hop', 'x-mcphub-worker'];
    assert.deepEqual(Object.keys(headers).sort(), [...passed, ...own]);
    assert.deepEqual([headers['x-mcphub-client-address'], headers['x-mcphub-worker']], ['127.0.0.1', 'token']);
    assert.equal(headers.connection, 'close');
  }
});

test('a sender whose share of passed requests is used up is served here, and others are passed on', async () => {
  const path = join(dir, 'front-3.sock');
  const open = new Set<Socket>();
  const silent = createSocketServer((socket) => void open.add(socket.unref())).unref();
  await new Promise<void>((resolve) => silent.listen(path, resolve));
  const siblings = new PeerWorkers({
    ...{ runtime, limits: { ...limits, forwardedPerKey: 2 }, token: () => 'token' },
    frontSocket: () => path,
  });
  const seen: string[] = [];
  const passOne = (owner: string): ServerResponse => {
    const request = { method: 'GET', url: '/mcp', headers: {}, socket: {}, httpVersionMajor: 1, httpVersionMinor: 1 };
    const response = Object.assign(new EventEmitter(), { destroy() {} }) as unknown as ServerResponse;
    siblings.pass(request as unknown as IncomingMessage, response, {
      ...{ slot: 3, body: undefined, owner, access: accessOf(owner) },
      away: () => seen.push(owner),
    });
    return response;
  };
  const greedy = [1, 2, 3, 4].map(() => passOne('greedy'));
  const other = passOne('other');
  assert.deepEqual(seen, ['greedy', 'greedy']);
  await until(() => open.size === 3, 5000, 'three connections');
  for (const response of [...greedy, other]) response.emit('close');
  const size = (): number => runtime.ceilings.table().find(({ name }) => name === 'downstream.siblings')?.size ?? -1;
  await until(() => size() === 0, 5000, 'free places');
  for (const socket of open) socket.destroy();
  await new Promise<void>((resolve) => silent.close(() => resolve()));
});

test('upstream/transport/peer/forward.ts sends each message as one POST with a length', async () => {
  const socketPath = join(dir, 'hub-1.sock');
  await using owner = await startRecorder(socketPath);
  const none = () => {};
  const ends = { failed: none, unreadable: none, unmatched: none, sessionLost: none, closed: none };
  const events = { ...ends, message: none, alive: none, phase: none, said: none, learned: none, question: none };
  const spec = { slug: 'one', name: 'one', homeHub: 1 } as ServerSpec;
  const transport = createForwardTransport({ runtime, limits, spec, socketPath, slot: 2, events });
  await transport.start(runtime.deadline(1000));
  for (const [at, frame] of [SMUGGLED, '', '0\r\n\r\n', '{}'].entries())
    assert.equal(transport.send(Buffer.from(frame), at + 1, runtime.deadline(1000)), undefined);
  await until(() => owner.requests().length === 4, 5000, 'four requests');
  assertFramed(owner.requests(), 4);
  assert.ok(owner.requests().every(({ method, path }) => `${method} ${path}` === 'POST /peer/one'));
  await transport.stop(runtime.deadline(1000));
});

test('net/unix-socket-request.ts asks workers without a body', async () => {
  const runDir = mkdtempSync(join(dir, 'ask-'));
  await using hub = await startRecorder(join(runDir, 'hub-1.sock'));
  const asker = createHubAsker({ runtime, limits, runDir });
  for (const method of ['GET', 'POST'] as const)
    await asker.ask([1], { method, path: '/servers/one/restart' }, runtime.deadline(1000));
  assertFramed(hub.requests(), 2);
  assert.ok(hub.requests().every(({ body, headers }) => body === '' && headers['content-length'] === '0'));
});

test('net/unix-socket-request.ts sends every method with a length', async () => {
  await using control = await startRecorder(join(dir, 'run', 'control.sock'));
  const address = { dataDir: dir, runDir: join(dir, 'run') };
  for (const method of ['GET', 'POST', 'DELETE'] as const)
    for (const body of [undefined, { SMUGGLED }])
      await askControl(address, { method, path: '/x', body, timeoutMs: 2000 });
  assertFramed(control.requests(), 6);
});

test('bridge/request.ts sends every method with a length', async () => {
  const socketPath = join(dir, 'bridge.sock');
  await using hub = await startRecorder(socketPath);
  const target = { url: undefined, socketPath, path: '/mcp', key: undefined };
  for (const method of ['GET', 'POST', 'DELETE'] as const) {
    for (const body of [undefined, Buffer.from(SMUGGLED)]) {
      await new Promise<void>((resolve, reject) => {
        const ears = { answer: () => resolve(), failed: (why: string) => reject(new Error(why)) };
        sendRequest(target, runtime.timers, { method, headers: {}, body, session: undefined }, ears);
      });
    }
  }
  assertFramed(hub.requests(), 6);
});

test('chaos/_load.ts sends its calls with a length', async () => {
  await using hub = await startRecorder();
  await hasTool(runtime, { port: hub.port, key: KEY, echo: 'x' }, 'x', new AbortController().signal);
  assertFramed(hub.requests(), 1);
});

test('supervisor/process-probe.ts sends GET requests without a body', async () => {
  const socketPath = join(dir, 'seen.sock');
  await using seen = await startRecorder(socketPath);
  const probe = new ProcessProbe(process.pid, { socketPath, loopSocketPath: join(dir, 'none.sock'), limits });
  probe.poll();
  await until(() => seen.requests().length === 2, 5000, 'heartbeat and probe');
  probe.close();
  assertFramed(seen.requests(), 2);
  assert.ok(seen.requests().every(({ method, body }) => method === 'GET' && body === ''));
});

test('net/_connector.ts carries requests to servers, each with a length', async () => {
  await using server = await startRecorder();
  const egress = createEgress({ runtime, limits, env: {} });
  const pool = egress.open(new URL(`http://127.0.0.1:${server.port}/`), {
    owner: 'one',
    connections: 12,
    addresses: 'any',
  });
  const bodies = [null, Buffer.alloc(0), Buffer.from(SMUGGLED)];
  for (const method of ['GET', 'HEAD', 'POST', 'DELETE'] as const)
    for (const body of bodies) pool.dispatch({ method, path: '/x', headers: [], body }, IGNORED);
  await until(() => server.requests().length === 12, 5000, 'twelve requests');
  assertFramed(server.requests(), 12);
  for (const { method, body, headers } of server.requests())
    assert.ok(body === '' || headers['content-length'] !== undefined, method);
  await egress.close(runtime.deadline(1000));
});

const IGNORED = {
  onRequestStart() {},
  onResponseStart() {},
  onResponseData() {},
  onResponseEnd() {},
  onResponseError() {},
};
