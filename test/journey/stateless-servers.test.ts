/**
 * Servers that speak 2026-07-28 only, or both eras, behind a whole hub: clients of either era use them, and the servers
 * have nothing to complain of.
 */
// covers: P2, P17
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { startFaultHttp } from '../support/fault-http.ts';
import { delay, ROOT, type RunningHub, startHub, until } from '../support/hub.ts';
import { slowness } from '../support/load.ts';
import { openSession, post, type RpcAnswer, rpc } from '../support/mcp.ts';
import { type ModernServer, startModernServer } from '../support/modern-server.ts';
import { openStateless, stateless } from '../support/stateless.ts';
import { ASKED, connectV1, connectV2 } from '../support/users.ts';

const SERVER = join(ROOT, 'test/support/modern-server.ts');
const NAMES = ['web', 'child'] as const;

function callsOf({ methods }: ModernServer): number {
  return methods.filter((method) => method === 'tools/call').length;
}

describe('servers of 2026-07-28', { timeout: 200_000 }, () => {
  let hub: RunningHub;
  let web: ModernServer;
  let dual: ModernServer;
  let pinned: ModernServer;
  let asking: ModernServer;
  let dualAsking: ModernServer;
  let url = '';
  let session = '';
  const old = (method: string, params: object): Promise<RpcAnswer> =>
    rpc(url, method, params, { key: hub.key, session });
  const call = (name: string, args: object = {}) => old('tools/call', { name, arguments: args });

  before(async () => {
    [web, dual, pinned] = [await startModernServer(), await startModernServer(true), await startModernServer()];
    [asking, dualAsking] = [await startModernServer(), await startModernServer(true)];
    const config = {
      mcpServers: {
        web: { url: web.url },
        dual: { url: dual.url },
        pinned: { url: pinned.url, era: '2026' },
        child: { command: process.execPath, args: [SERVER] },
        both: { command: process.execPath, args: [SERVER, 'dual'] },
        asks: { url: asking.url, interactive: true },
        asks2: { url: dualAsking.url, interactive: true },
        child2: { command: process.execPath, args: [SERVER], interactive: true },
      },
    };
    hub = await startHub({ config });
    url = `${hub.url}/mcp`;
    session = await openSession(url, hub.key);
    for (const name of [...NAMES, 'pinned', 'dual', 'both'])
      await until(async () => /"x"/.test((await call(`${name}_echo`, { text: 'x' })).text), 30_000, name);
  });
  after(async () => {
    await hub[Symbol.asyncDispose]();
    await Promise.all([web, dual, pinned, asking, dualAsking].map((server) => server[Symbol.asyncDispose]()));
  });

  test('a client of the 2025 dates lists, calls and reads, and sees nothing of the other era', async () => {
    const { tools } = (await old('tools/list', {})).json.result;
    for (const name of NAMES) {
      const own = tools.filter((tool: { name: string }) => tool.name.startsWith(`${name}_`));
      // The one whose headers are against the rules cannot be called over HTTP; over stdio they mean nothing.
      const names = own.map((tool: { name: string }) => tool.name.slice(name.length + 1));
      const misplaced = name === 'web' ? [] : ['misplaced'];
      const expected = [
        'ask',
        'busy',
        'echo',
        'grow',
        'list',
        ...misplaced,
        'move',
        'need',
        'place',
        'report',
        'sleep',
        'touch',
      ];
      assert.deepEqual(names.sort(), expected);
      // An array is no outputSchema that clients of these dates accept: it is repaired, and only it.
      assert.notEqual(own.find((tool: { name: string }) => tool.name === `${name}_list`).outputSchema?.type, 'array');
      const echoed = (await call(`${name}_echo`, { text: 'größe' })).json.result;
      assert.deepEqual(echoed, { content: [{ type: 'text', text: 'größe' }] });
      const listed = (await call(`${name}_list`)).json.result;
      assert.ok(!Array.isArray(listed.structuredContent), JSON.stringify(listed));
      const asked = (await call(`${name}_ask`)).json.result;
      // It is not marked as one that asks, so that it is told that nobody can be asked.
      assert.deepEqual(asked, { content: [{ type: 'text', text: 'Nobody can be asked.' }], isError: true });
    }
    const read = (await old('resources/read', { uri: 'x://1' })).json.result;
    assert.deepEqual([read.contents[0].text, read.ttlMs, read.resultType], ['one', undefined, undefined]);
    const hello = await rpc(url, 'initialize', { protocolVersion: '2025-11-25', capabilities: {} }, { key: hub.key });
    assert.match(hello.json.result.instructions, /Be modern/);
  });

  test('a client of 2026-07-28 uses the same servers', async () => {
    for (const name of [...NAMES, 'dual']) {
      const params = { name: `${name}_echo`, arguments: { text: 'x' } };
      const { result } = (await stateless(url, 'tools/call', params, { key: hub.key })).json;
      assert.deepEqual(result, { resultType: 'complete', content: [{ type: 'text', text: 'x' }] });
    }
  });

  test('behaviour 16 [B16, F3]: what such a server asks reaches users of either era, over several rounds', async () => {
    for (const server of ['asks', 'child2']) {
      for (const { connect, answer, said } of ASKED) {
        await using user = await connect({ url, key: hub.key });
        answer(user.mind);
        assert.equal((await user.can.call(`${server}_ask`)).content[0].text, said);
        assert.deepEqual([user.mind.elicitations.length, user.mind.rootsAsked >= 1], [2, true]);
      }
      // A client that can be asked nothing: the server knows, and says so.
      const answer = (await call(`${server}_ask`)).json.result;
      assert.match(answer.content[0].text, /Nobody can be asked/);
    }
  });

  test('the keys of its questions reach a client of its own era as they are, and one that asks nothing is asked again', async () => {
    // The first of these is met in the older way by everybody else.
    for (const server of ['asks2', 'asks', 'child2']) {
      const params = { name: `${server}_ask`, arguments: {} };
      const ask = async (more: object) =>
        (await stateless(url, 'tools/call', { ...params, ...more }, { key: hub.key })).json.result;
      const first = await ask({});
      assert.deepEqual(Object.keys(first.inputRequests).sort(), ['where', 'who'], server);
      const answers = { where: { roots: [{ uri: 'file:///a' }] }, who: { action: 'accept', content: { name: 'Ada' } } };
      const second = await ask({ requestState: first.requestState, inputResponses: answers });
      assert.deepEqual(Object.keys(second.inputRequests), ['colour']);
      const last = { colour: { action: 'accept', content: { colour: 'red' } } };
      const done = await ask({ requestState: second.requestState, inputResponses: last });
      assert.equal(done.content[0].text, 'Ada at file:///a likes red');
    }
    for (const server of ['web', 'child', 'asks']) {
      const params = { name: `${server}_busy`, arguments: {} };
      const { result } = (await stateless(url, 'tools/call', params, { key: hub.key })).json;
      assert.deepEqual(
        [result.content[0].text, (await call(params.name)).json.result.content[0].text],
        ['done', 'done'],
      );
    }
  });

  test('a capability that the client lacks is named to it in the words of its era; one that the hub lacks is no fault of the client', async () => {
    for (const server of ['asks', 'child2', 'web', 'child']) {
      const params = { name: `${server}_need`, arguments: {} };
      const need = (capabilities: object) => stateless(url, 'tools/call', params, { key: hub.key, capabilities });
      const lacking = await need({ elicitation: {} });
      const { code, message, data } = lacking.json.error;
      assert.deepEqual([lacking.status, code, message], [400, -32021, 'Nobody thinks here.'], server);
      assert.deepEqual(data.requiredCapabilities, { sampling: {} });
      const able = (await need({ sampling: {} })).json.result;
      if (server === 'asks' || server === 'child2') assert.equal(able.content[0].text, 'thought');
      else
        assert.match(`${able.isError} ${able.content[0].text}`, /^true Nobody thinks here\. .*set "interactive": true/);
      const old = (await call(params.name)).json.result;
      assert.deepEqual(
        [old.isError, old.content[0].text],
        [true, 'Nobody thinks here. It needs a client that declares {"sampling":{}}.'],
      );
    }
  });

  test('a tool that is added is listed soon, though nobody has a session with its server', async () => {
    await until(() => web.listening() === 1, 10_000, 'the hub listens');
    for (const name of NAMES) {
      assert.match((await call(`${name}_grow`)).text, /grown/);
      const slow = await slowness();
      await until(async () => (await old('tools/list', {})).text.includes(`"${name}_extra_0"`), 2020 * slow, name);
    }
  });

  test('arguments that a tool wants in headers are sent there, also on a connection of one user', async () => {
    for (const server of ['web', 'pinned', 'child', 'asks']) {
      const args = { region: 'süd', deep: { count: 42 } };
      const { result } = (await call(`${server}_place`, args)).json;
      assert.deepEqual(JSON.parse(result.content[0].text), args, server);
      assert.equal((await call(`${server}_place`)).json.result.content[0].text, '{}', server);
    }
    // Its list is read in the older way, and a user of 2026-07-28 meets it in the newer.
    const params = { name: 'asks2_place', arguments: { region: 'süd', deep: { count: 42 } } };
    const before = dualAsking.methods.length;
    const region = `=?base64?${Buffer.from('süd').toString('base64')}?=`;
    const headers = { 'mcp-param-region': region, 'mcp-param-count': '42' };
    const answer = (await stateless(url, 'tools/call', params, { key: hub.key, headers })).json;
    assert.deepEqual(JSON.parse(answer.result?.content[0].text ?? 'null'), params.arguments, JSON.stringify(answer));
    const calls = dualAsking.methods.slice(before).filter((method) => method === 'tools/call');
    assert.equal(calls.length, 1, 'at the first try');
    assert.match(hub.log, /misplaced is hidden: x-mcp-header at many\.items is not at a plain property/);
  });

  test('a tool that declares another header by now, and has told nobody, is called all the same', async () => {
    for (const [server, { methods }] of [
      ['pinned', pinned],
      ['asks', asking],
    ] as const) {
      const args = { region: 'süd', deep: { count: 7 } };
      assert.match((await call(`${server}_move`)).text, /moved/);
      const callsBefore = methods.filter((method) => method === 'tools/call').length;
      const { result } = (await call(`${server}_place`, args)).json;
      assert.deepEqual(JSON.parse(result.content[0].text), args, server);
      assert.equal(methods.filter((method) => method === 'tools/call').length, callsBefore + 2, 'once refused');
      assert.match((await call(`${server}_place`, args)).text, /süd/);
      assert.equal(methods.filter((method) => method === 'tools/call').length, callsBefore + 3, 'and then known');
    }
  });

  test('changed resources reach whoever is subscribed, of either era, and the server is asked for no more than that', async () => {
    for (const server of ['pinned', 'child', 'asks', 'child2']) {
      const [own, uri] = [`${url}/${server}`, 'x://1'];
      await using first = await connectV1({ url: own, key: hub.key });
      await using second = await connectV2({ url: own, key: hub.key });
      for (const user of [first, second]) await user.can.subscribeResource({ uri });
      const listenedTo = async (user: typeof first): Promise<string[]> =>
        JSON.parse((await user.can.call(`${server}_touch`, { text: uri })).content[0].text);
      await until(async () => (await listenedTo(first)).includes(uri), 5000, `${server} is listened to`);
      await until(
        async () => (await listenedTo(second)) && [first, second].every(({ mind }) => mind.updates.includes(uri)),
        5000,
        'both hear',
      );
      // Who has no session has no child of his own, and child2 has one for each.
      if (server !== 'child2') {
        const modern = openStateless(
          hub,
          'subscriptions/listen',
          { notifications: { resourceSubscriptions: [uri] } },
          `/mcp/${server}`,
        );
        await modern.hasMessages(1);
        await until(
          async () => (await listenedTo(first)) && modern.messages.length > 1,
          5000,
          'and a client of 2026-07-28 hears',
        );
        assert.deepEqual(JSON.parse(modern.messages[1] ?? '').params, {
          ...{ _meta: { 'io.modelcontextprotocol/subscriptionId': 'sub-1' }, uri },
        });
        modern.drop();
      }
      await first.can.unsubscribeResource({ uri });
      await second.can.unsubscribeResource({ uri });
      await until(async () => (await listenedTo(first)).length === 0, 5000, 'nobody listens any more');
    }
  });

  test('a call that is cancelled closes its request', async () => {
    const [before, calls] = [web.closed(), callsOf(web)];
    const params = { name: 'web_sleep', arguments: { ms: 20_000 } };
    const running = rpc(url, 'tools/call', params, { key: hub.key, session, id: 77 });
    await until(() => callsOf(web) > calls, 5000, 'the call');
    const cancel = { jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 77 } };
    await post(url, cancel, { key: hub.key, session });
    await until(() => web.closed() > before, 2000, 'the end of the request');
    const { status, text } = await running;
    assert.deepEqual([status, text], [202, ''], 'no response to a cancelled request');
  });

  test('the servers have nothing to complain of, and were asked in their own era', () => {
    for (const { complaints } of [web, pinned, dual, asking, dualAsking]) assert.deepEqual(complaints, []);
    assert.ok(!pinned.methods.includes('initialize'), 'what is configured is not tried out');
    assert.deepEqual(web.methods.slice(0, 2), ['initialize', 'server/discover']);
    assert.ok(!dual.methods.includes('server/discover'), 'who speaks both is met as before');
    const openings = dualAsking.methods.filter((method) => ['initialize', 'server/discover'].includes(method));
    assert.equal(openings[0], 'initialize');
    assert.equal(openings.filter((method) => method === 'server/discover').length, 1, 'but for who speaks the newer');
  });

  test('what was found out is known when the server comes back', async () => {
    const before = web.methods.length;
    const restarted = await fetch(`${hub.url}/api/servers/web/restart`, {
      method: 'POST',
      headers: { authorization: `Bearer ${hub.key}` },
    });
    assert.ok(restarted.ok);
    await until(async () => /"x"/.test((await call('web_echo', { text: 'x' })).text), 30_000, 'web again');
    assert.ok(!web.methods.slice(before).includes('initialize'));
  });
});

test('what was found out about a server outlives the hub, and is corrected when it is not true any more', {
  timeout: 120_000,
}, async () => {
  const dataDir = mkdtempSync(join(tmpdir(), 'mcphub-eras-'));
  const modern = await startModernServer();
  try {
    const config = { mcpServers: { web: { url: modern.url } } };
    let key: string | undefined;
    const openings: unknown[] = [];
    for (let start = 0; start < 2; start += 1) {
      const before = modern.methods.length;
      await using hub = await startHub({ config, dataDir, ...(key === undefined ? {} : { key }) });
      key = hub.key;
      const client = { key, session: await openSession(`${hub.url}/mcp`, key) };
      const echo = () => rpc(`${hub.url}/mcp`, 'tools/call', { name: 'web_echo', arguments: { text: 'x' } }, client);
      await until(async () => /"x"/.test((await echo()).text), 30_000, 'web');
      openings.push(modern.methods[before]);
      await delay(500);
      assert.equal(await hub.stop(), 0);
    }
    assert.deepEqual(openings, ['initialize', 'server/discover']);
    // At the same address there is a server of the 2025 dates now.
    const { port } = new URL(modern.url);
    await modern[Symbol.asyncDispose]();
    const old = await startFaultHttp({ port: Number(port) });
    try {
      await using hub = await startHub({ config, dataDir, ...(key === undefined ? {} : { key }) });
      const client = { key: hub.key, session: await openSession(`${hub.url}/mcp`, hub.key) };
      const add = () => rpc(`${hub.url}/mcp`, 'tools/call', { name: 'web_add', arguments: { a: 2, b: 3 } }, client);
      await until(async () => /"5"/.test((await add()).text), 30_000, 'the old one');
      assert.ok(old.seen.order.includes('initialize'));
    } finally {
      await old.close();
    }
  } finally {
    await modern[Symbol.asyncDispose]();
    rmSync(dataDir, { recursive: true, force: true });
  }
});
