// covers: B21, B25
/**
 * Two workers on one machine: the server runs in the first, calls come to the second and use the first one's unix
 * socket.
 */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { startFaultHttp } from '../../../test/support/fault-http.ts';
import type { FaultHttpFlags } from '../../../test/support/fault-http-flags.ts';
import { delay, until } from '../../../test/support/hub.ts';
import { httpSpec, LiveFleet, stdioSpec } from '../../../test/support/live-fleet.ts';
import { EVERYTHING } from '../../../test/support/real-servers.ts';
import { startScriptedServer } from '../../../test/support/scripted-server.ts';
import { isRefusal } from '../../model/outcome.ts';
import type { ServerSpec } from '../../model/snapshot.ts';

async function twoHubs(limits: Readonly<Record<string, number>> = {}) {
  const directory = await mkdtemp(join(tmpdir(), 'peer-'));
  const socketPath = join(directory, 'hub-1.sock');
  const home = new LiveFleet({ slot: 1, socketPath, limits });
  const other = new LiveFleet({ slot: 2, socketPath, limits });
  await home.openDoor();
  return {
    home,
    other,
    socketPath,
    apply(spec: ServerSpec) {
      home.registry.apply([spec]);
      other.registry.apply([spec]);
    },
    async [Symbol.asyncDispose]() {
      await other[Symbol.asyncDispose]();
      await home[Symbol.asyncDispose]();
      await rm(directory, { recursive: true });
    },
  };
}

async function faultServer(flags: FaultHttpFlags = {}) {
  const server = await startFaultHttp(flags);
  return { ...server, [Symbol.asyncDispose]: () => server.close() };
}

/** Declared as launched, so that one worker owns it; the test only connects to it. */
function launchedSpec(url: string): ServerSpec {
  const launch = { command: 'x', args: [], env: {}, cwd: undefined };
  return httpSpec('s', url, { homeHub: 1, transport: { kind: 'http', url, headers: {}, launch } });
}

/** Sends one raw POST to the endpoint. */
function post(
  socketPath: string,
  path: string,
  body: string,
  method = 'POST',
): Promise<{ status: number; text: string }> {
  return new Promise((resolve, reject) => {
    const call = request({ socketPath, path, method, agent: false }, (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (piece: string) => {
        text += piece;
      });
      response.on('end', () => resolve({ status: response.statusCode ?? 0, text }));
    });
    call.on('error', reject);
    call.end(body);
  });
}

test('a call to a child of another hub is answered, and the child runs once', async () => {
  await using hubs = await twoHubs();
  hubs.apply(stdioSpec('s', ['normal']));
  await hubs.other.ready('s');
  assert.equal(await hubs.other.text('s', 'echo', { text: 'grüße' }), 'grüße');
  assert.equal(await hubs.other.text('s', 'pid'), await hubs.home.text('s', 'pid'));
  assert.equal(hubs.other.registry.status('s')?.transport, 'forward');
  const names = (rig: LiveFleet) => rig.registry.rawListing('s')?.tools?.map((tool) => tool.toString());
  assert.deepEqual(names(hubs.other), names(hubs.home));
  assert.equal(hubs.other.registry.rawListing('s')?.instructions, 'fault server: normal');
});

test('an error of the server and a refusal of the home hub come through as they are', async () => {
  await using hubs = await twoHubs({ silenceMs: 400, questionMs: 200, pingMs: 300 });
  hubs.apply(stdioSpec('s', ['normal']));
  await hubs.other.ready('s');
  const unknown = await hubs.other.call('s', 'no-such-tool');
  assert.ok(!isRefusal(unknown) && unknown.kind === 'error');
  assert.equal(JSON.parse(unknown.json.toString()).message, 'Unknown tool: no-such-tool');
  const crash = await hubs.other.call('s', 'crash', { code: 3 });
  assert.ok(!isRefusal(crash) && crash.kind === 'error');
  const { code, data } = JSON.parse(crash.json.toString());
  assert.equal(code, -32010);
  assert.deepEqual([data.server, data.code, data.outcome], ['s', 'upstream-exit', 'unknown']);
  await hubs.home.ready('s');
  assert.equal(await hubs.other.text('s', 'echo', { text: 'again' }), 'again');
});

test('progress travels with the caller’s own token and stops at the result', async () => {
  await using server = await faultServer({ answer: 'sse' });
  await using hubs = await twoHubs();
  // Declared as launched elsewhere, so that one worker owns it; the transport itself is plain HTTP.
  hubs.apply(launchedSpec(server.url));
  await hubs.other.ready('s');
  const heard: { progress: number; progressToken: unknown }[] = [];
  const back = {
    progressToken: '"my-token"',
    notify: (method: string, params: Buffer) => {
      assert.equal(method, 'notifications/progress');
      heard.push(JSON.parse(params.toString()));
    },
  };
  await hubs.other.text('s', 'progress', { steps: 3, ms: 5 }, { back });
  const atResult = heard.length;
  assert.equal(atResult, 3);
  assert.ok(heard.every((one) => one.progressToken === 'my-token'));
  assert.equal(server.seen.executions, 1);
});

test('a caller that goes away ends its call in the home hub and at the server, once', async () => {
  await using server = await faultServer();
  {
    await using hubs = await twoHubs();
    hubs.apply(launchedSpec(server.url));
    await hubs.other.ready('s');
    server.flags.silent = true;
    const deadline = hubs.other.runtime.deadline(20_000);
    const refused = hubs.other.refusal('s', 'echo', { text: 'x' }, { deadline });
    await until(() => hubs.home.registry.status('s')?.inFlight === 1, 3000, 'the call is at home');
    await until(() => server.seen.byMethod['tools/call'] === 1, 3000, 'the call is at the server');
    deadline.end('client-gone');
    assert.equal((await refused).code, 'client-gone');
    await until(() => hubs.home.registry.status('s')?.inFlight === 0, 2000, 'its place at home is free');
    await until(() => server.seen.byMethod['notifications/cancelled'] === 1, 2000, 'cancelled at the server');
    await until(() => server.seen.closes >= 1, 2000, 'its request is closed');
    assert.equal(server.seen.byMethod['notifications/cancelled'], 1);
  }
});

test('a home hub that is away is named, and the server is back when the hub is', async () => {
  await using hubs = await twoHubs({ restartCapMs: 1000 });
  hubs.apply(stdioSpec('s', ['normal']));
  await hubs.other.ready('s');
  await hubs.home.closeDoor();
  await delay(50); // until the idle sockets are seen to be closed
  const refused = await hubs.other.refusal('s', 'echo', { text: 'x' });
  assert.equal(refused.code, 'upstream-connect');
  assert.equal(refused.detail.outcome, 'not-executed');
  assert.match(refused.message, /worker 1/);
  await hubs.home.openDoor();
  assert.equal(await hubs.other.text('s', 'echo', { text: 'back' }), 'back');
});

test('a silent server is cut by its home hub, which the other hub’s watch leaves to it', async () => {
  await using server = await faultServer();
  await using hubs = await twoHubs({ silenceMs: 600, questionMs: 300, pingMs: 300 });
  hubs.apply(launchedSpec(server.url));
  await hubs.other.ready('s');
  server.flags.silent = true;
  server.flags.faultMethods = ['tools/call', 'ping'];
  const bornMs = performance.now();
  const answer = await hubs.other.call('s', 'echo', { text: 'x' });
  const tookMs = performance.now() - bornMs;
  assert.ok(tookMs >= 550 && tookMs < 2000, `${tookMs} ms`);
  assert.ok(!isRefusal(answer) && answer.kind === 'error');
  const { data } = JSON.parse(answer.json.toString());
  assert.deepEqual([data.code, data.server, data.phase, data.setting], ['upstream-silent', 's', 'call', 'silenceMs']);
});

test('the door refuses what is no message, takes notifications, and says what it does not know', async () => {
  await using hubs = await twoHubs();
  hubs.apply(stdioSpec('s', ['normal']));
  await hubs.home.ready('s');
  const { socketPath } = hubs;
  assert.equal((await post(socketPath, '/peer/s', 'nonsense')).status, 400);
  assert.equal((await post(socketPath, '/peer/s', '', 'GET')).status, 405);
  assert.equal(
    (await post(socketPath, '/peer/s', '{"jsonrpc":"2.0","method":"notifications/initialized"}')).status,
    202,
  );
  assert.equal((await post(socketPath, '/peer/s', ' '.repeat(5 * 1024 * 1024))).status, 413);
  const ping = await post(socketPath, '/peer/s', '{"jsonrpc":"2.0","id":"a","method":"ping"}');
  assert.deepEqual(JSON.parse(ping.text), { jsonrpc: '2.0', id: 'a', result: {} });
  const nobody = await post(socketPath, '/peer/nobody', '{"jsonrpc":"2.0","id":2,"method":"tools/list"}');
  assert.equal(JSON.parse(nobody.text).error.data.code, 'server-down');
  const prompts = await post(socketPath, '/peer/s', '{"jsonrpc":"2.0","id":3,"method":"prompts/list"}');
  assert.deepEqual(JSON.parse(prompts.text).result, { prompts: [] });
  const method = await post(socketPath, '/peer/s', '{"jsonrpc":"2.0","id":4,"method":"nothing/such"}');
  const { error } = JSON.parse(method.text);
  assert.deepEqual(
    [error.code, error.message],
    [-32601, 'Method not found: nothing/such'],
    'the server says so itself',
  );
});

test('prompts, resources and completions of a child of another hub come through as they are', async () => {
  await using hubs = await twoHubs();
  const transport = { kind: 'stdio', ...EVERYTHING, env: {}, cwd: undefined } as const;
  hubs.apply(stdioSpec('s', [], { transport }));
  await hubs.home.ready('s');
  await hubs.other.ready('s');
  const [here, there] = [hubs.home.registry.rawListing('s'), hubs.other.registry.rawListing('s')];
  for (const kind of ['prompts', 'resources', 'templates'] as const) {
    assert.ok((here?.[kind]?.length ?? 0) > 0, kind);
    assert.deepEqual(there?.[kind]?.map(String), here?.[kind]?.map(String), kind);
  }
  assert.deepEqual(there?.declared, here?.declared);
  const ask = async (rig: LiveFleet, method: string, params: object) => {
    const answer = await rig.call('s', '', {}, { method, params: () => Buffer.from(JSON.stringify(params)) });
    assert.ok(!isRefusal(answer) && answer.kind === 'result', JSON.stringify(answer));
    return answer.json.toString();
  };
  const uri = JSON.parse(String(here?.resources?.[0])).uri;
  for (const [method, params] of [
    ['prompts/get', { name: 'simple-prompt' }],
    ['resources/read', { uri }],
    [
      'completion/complete',
      { ref: { type: 'ref/prompt', name: 'completable-prompt' }, argument: { name: 'department', value: '' } },
    ],
  ] as const)
    assert.equal(await ask(hubs.other, method, params), await ask(hubs.home, method, params), method);
});

test('lists that were not read, or not to their end, are known at the other hub too', async () => {
  await using hubs = await twoHubs();
  const page = (cursor: string) =>
    `{"tools":[{"name":"a${cursor}","inputSchema":{"type":"object"}}],"nextCursor":"two"}`;
  const broken = '{"jsonrpc":"2.0","id":$ID,"error":{"code":-32603,"message":"database is locked"}}';
  await using server = await startScriptedServer({
    ...{ 'tools/list': page('1'), 'tools/list?two': broken },
    ...{ 'prompts/list': broken, 'resources/list': broken },
  });
  hubs.apply(launchedSpec(server.url));
  await hubs.home.ready('s');
  await hubs.other.ready('s');
  const unread = (rig: LiveFleet) =>
    rig.registry.status('s')?.unread?.toSorted((one, other) => one.kind.localeCompare(other.kind));
  assert.deepEqual(
    unread(hubs.home)?.map(({ kind, rows, isWanted }) => [kind, rows, isWanted]),
    [
      ['prompt', undefined, true],
      ['resource', undefined, true],
      ['tool', 1, true],
    ],
  );
  assert.deepEqual(unread(hubs.other), unread(hubs.home));
  assert.equal(hubs.other.registry.status('s')?.state, 'ready');
  assert.equal(hubs.other.registry.rawListing('s')?.tools?.length, 1);
  server.script = {};
  await until(() => unread(hubs.home) === undefined, 20_000, 'the home worker has read them');
  await until(() => unread(hubs.other) === undefined, 20_000, 'and the other has heard');
  assert.equal(hubs.other.registry.rawListing('s')?.prompts?.length, 1);
});
