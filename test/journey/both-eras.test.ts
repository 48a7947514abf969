/**
 * The behaviours of protocol.md §6 where both eras meet in one hub: clients of either on servers of either, byte by
 * byte. What belongs to one era is in `stateless.test.ts`, `stateless-servers.test.ts` and the journeys of the 2025
 * dates.
 */
import assert from 'node:assert/strict';
import { get } from 'node:http';
import { after, before, describe, test } from 'node:test';
import { type FaultHttp, startFaultHttp } from '../support/fault-http.ts';
import { delay, type RunningHub, startHub, until } from '../support/hub.ts';
import { Journal, makeKey } from '../support/journal.ts';
import { median, slowness, stdioServer } from '../support/load.ts';
import { openSession, post, type RpcAnswer, rpc } from '../support/mcp.ts';
import { type ModernServer, startModernServer } from '../support/modern-server.ts';
import { Reading } from '../support/sse-client.ts';
import { openStateless, type StatelessOptions, type StatelessParams, stateless } from '../support/stateless.ts';
import { connectV1, connectV2 } from '../support/users.ts';

/** How a client of either era asks. */
type Ask = (method: string, params: StatelessParams, id?: number | string) => Promise<RpcAnswer>;

const BOTH = 'application/json, text/event-stream';
const ROUNDS = 15;
const CANCELLED = 200;

describe('both eras in one hub', { timeout: 170_000 }, () => {
  let hub: RunningHub;
  let web: FaultHttp;
  let hung: FaultHttp;
  let deaf: FaultHttp;
  let modern: ModernServer;
  let sleepy: ModernServer;
  let journal: Journal;
  let url = '';
  let session = '';
  const old: Ask = (method, params, id = 1) => rpc(url, method, params, { key: hub.key, session, id, accept: BOTH });
  const fresh = (method: string, params: StatelessParams, options: Partial<StatelessOptions> = {}) =>
    stateless(url, method, params, { key: hub.key, ...options });
  const eras: readonly (readonly [string, Ask])[] = [
    ['2025', old],
    ['2026', (method, params, id = 1) => fresh(method, params, { id })],
  ];

  before(async () => {
    [web, hung, deaf] = [
      await startFaultHttp(),
      await startFaultHttp({ silent: true, faultMethods: ['*'] }),
      await startFaultHttp({ silent: true }),
    ];
    [modern, sleepy] = [await startModernServer(), await startModernServer()];
    journal = new Journal();
    const config = {
      mcpServers: {
        web: { url: web.url },
        modern: { url: modern.url },
        child: stdioServer(),
        own: journal.stdio({ interactive: true }),
        // These answer nothing at all, and these no call.
        hungold: { url: hung.url, era: '2025' },
        hungnew: { url: hung.url, era: '2026' },
        deafold: { url: deaf.url },
        deafnew: { url: sleepy.url },
      },
    };
    hub = await startHub({ config });
    url = `${hub.url}/mcp`;
    session = await openSession(url, hub.key);
    for (const name of ['web', 'modern', 'child'])
      await until(
        async () => /"x"/.test((await old('tools/call', { name: `${name}_echo`, arguments: { text: 'x' } })).text),
        30_000,
        name,
      );
    // A server that comes later changes everybody's list.
    for (const name of ['own_pid', 'deafold_echo', 'deafnew_echo'])
      await until(async () => (await old('tools/list', {})).text.includes(`"${name}"`), 30_000, name);
    await delay(1000);
  });
  after(async () => {
    await hub[Symbol.asyncDispose]();
    await Promise.all([web, hung, deaf].map((server) => server.close()));
    await Promise.all([modern, sleepy].map((server) => server[Symbol.asyncDispose]()));
    journal[Symbol.dispose]();
  });

  test('behaviour 2 [B2]: initialize is answered in the dates of 2025, whatever version it names', async () => {
    const named = async (protocolVersion: string): Promise<unknown> => {
      const params = { protocolVersion, capabilities: {}, clientInfo: { name: 'a', version: '1' } };
      return (await rpc(url, 'initialize', params, { key: hub.key })).json.result.protocolVersion;
    };
    for (const version of ['2024-10-07', '2024-11-05', '2025-03-26', '2025-06-18', '2025-11-25'])
      assert.equal(await named(version), version);
    for (const version of ['2026-07-28', '1.0', '9999-01-01']) assert.equal(await named(version), '2025-11-25');
  });

  test('behaviours 3 and 19 [B3, B19, F5]: servers that hang delay no list, no greeting, no subscription and nobody else’s calls, in either era', async (t) => {
    const stop = new AbortController();
    let inHand = 0;
    const burden = async (name: string, isFresh: boolean): Promise<void> => {
      const params = { name, arguments: { text: 'x', ms: 60_000 } };
      const [key, timeoutMs] = [hub.key, 2000];
      while (!stop.signal.aborted) {
        inHand += 1;
        // Who waits too long goes away, and comes back.
        const asked = isFresh
          ? fresh('tools/call', params, { timeoutMs })
          : rpc(url, 'tools/call', params, { key, session, timeoutMs });
        await asked.catch(() => {});
        inHand -= 1;
        await delay(50);
      }
    };
    const hanging = ['hungold_echo', 'hungnew_echo', 'deafold_echo', 'deafnew_sleep'];
    const burdens = [true, false].flatMap((isFresh) => hanging.map((name) => burden(name, isFresh)));
    await until(() => deaf.seen.open - deaf.seen.getStreams >= 2 && sleepy.open() >= 2, 10_000, 'calls hang');
    const took = new Map<string, number[]>();
    const time = async (what: string, work: () => Promise<unknown>): Promise<void> => {
      const bornMs = performance.now();
      await work();
      took.set(what, [...(took.get(what) ?? []), performance.now() - bornMs]);
    };
    for (let round = 0; round < ROUNDS; round += 1) {
      await time('2026 server/discover', () => fresh('server/discover', {}));
      await time('2025 initialize', () => rpc(url, 'initialize', { protocolVersion: '2025-11-25' }, { key: hub.key }));
      await time('/health', () => fetch(`${hub.url}/health`));
      await time('2026 listen', async () => {
        const listening = openStateless(hub, 'subscriptions/listen', { notifications: { toolsListChanged: true } });
        await listening.hasMessages(1);
        listening.drop();
      });
      for (const [era, ask] of eras) {
        await time(`${era} tools/list`, () => ask('tools/list', {}));
        for (const name of ['web', 'modern', 'child'])
          await time(`${era} ${name}`, async () => {
            const { text } = await ask('tools/call', { name: `${name}_echo`, arguments: { text: 'quick' } });
            assert.match(text, /quick/);
          });
      }
    }
    assert.ok(inHand >= 4, `${inHand} calls hang`);
    stop.abort();
    const slow = await slowness();
    const medians = [...took].map(([what, times]) => [what, median(times)] as const);
    t.diagnostic(medians.map(([what, ms]) => `${what} ${ms.toFixed(1)} ms`).join(', '));
    const late = medians.filter(([, ms]) => ms > 220 * slow);
    assert.deepEqual(late, [], JSON.stringify(medians));
    await Promise.all(burdens);
  });

  test('behaviour 12 [B12]: what one tool of a modern server has against the rules costs only that tool', async () => {
    for (const connect of [connectV1, connectV2]) {
      await using user = await connect({ url, key: hub.key });
      const { tools } = await user.can.listTools();
      const names: string[] = tools.map(({ name }: { readonly name: string }) => name);
      assert.ok(names.includes('modern_list') && names.includes('web_echo') && names.includes('child_echo'));
      assert.ok(!names.includes('modern_misplaced'));
      assert.ok((await user.can.call('modern_list')).content);
    }
  });

  test('behaviour 18 [B18]: a changed list is told once to each stream that wants it, within a second, and to no other', async () => {
    const headers = { authorization: `Bearer ${hub.key}`, 'mcp-session-id': session, accept: 'text/event-stream' };
    const standing = new Reading(get({ host: '127.0.0.1', port: hub.port, path: '/mcp', agent: false, headers }));
    const wants = openStateless(hub, 'subscriptions/listen', { notifications: { toolsListChanged: true } });
    const other = openStateless(hub, 'subscriptions/listen', { notifications: { promptsListChanged: true } });
    await standing.head();
    await Promise.all([wants.hasMessages(1), other.hasMessages(1)]);
    await until(() => modern.listening() === 1, 10_000, 'the hub listens');
    const told = (reading: Reading) => reading.messages.filter((text) => text.includes('tools/list_changed')).length;
    const slow = await slowness();
    await fresh('tools/call', { name: 'modern_grow', arguments: {} });
    await until(() => told(standing) > 0 && told(wants) > 0, 2020 * slow, 'both are told');
    assert.ok((await old('tools/list', {})).text.includes('"modern_extra_0"'));
    await delay(1000);
    assert.deepEqual([told(standing), told(wants), told(other)], [1, 1, 0]);
    for (const one of [standing, wants, other]) one.drop();
  });

  test('what changes in one user’s child is told to that user, in either era, and to nobody else', async () => {
    const bea = { port: hub.port, key: await makeKey(hub, 'bea') };
    const ears = [hub, bea].map((user) =>
      openStateless(user, 'subscriptions/listen', { notifications: { toolsListChanged: true } }),
    );
    const headers = { authorization: `Bearer ${hub.key}`, 'mcp-session-id': session, accept: 'text/event-stream' };
    const standing = new Reading(get({ host: '127.0.0.1', port: hub.port, path: '/mcp', agent: false, headers }));
    await Promise.all([standing.head(), ...ears.map((one) => one.hasMessages(1))]);
    const [mine, theirs] = ears;
    const grow = { name: 'own_grow', arguments: { name: 'more' } };
    await until(async () => !('error' in (await fresh('tools/call', grow)).json), 30_000, 'a child of her own');
    await until(() => mine?.messages.length === 2, 5000, 'she is told');
    assert.equal(JSON.parse(mine?.messages[1] ?? '').method, 'notifications/tools/list_changed');
    assert.equal(standing.messages.length, 0, 'the session has another child');
    await until(async () => !('error' in (await old('tools/call', grow)).json), 30_000, 'a child of the session');
    await until(() => standing.messages.length === 1, 5000, 'the session is told');
    await delay(1000);
    assert.deepEqual([mine?.messages.length, theirs?.messages.length], [2, 1]);
    for (const one of [standing, ...ears]) one.drop();
  });

  test('behaviour 20 [B20]: log lines come with requests that name a level, and with no others', async () => {
    const call = (logLevel?: string) =>
      fresh(
        'tools/call',
        { name: 'web_report', arguments: { text: 'mine', steps: 2, ms: 5 } },
        logLevel === undefined ? {} : { logLevel },
      );
    const lines = ({ text }: RpcAnswer) => text.split('notifications/message').length - 1;
    assert.equal(lines(await call('info')), 2);
    assert.equal(lines(await call('error')), 0, 'they are warnings');
    assert.equal(lines(await call()), 0);
  });

  test('behaviour 21 [B21]: a client that goes away ends its calls at their servers, once each, and nothing stays open', async () => {
    const [closedBefore, methodsBefore] = [modern.closed(), modern.methods.length];
    const [called, cancelled] = [[] as unknown[], [] as unknown[]];
    web.flags.heard = ({ method, id, params }) => {
      if (method === 'tools/call') called.push(id);
      if (method === 'notifications/cancelled') cancelled.push((params as { requestId?: unknown }).requestId);
    };
    for (const [name, open] of [
      ['web_sleep', () => web.seen.open - web.seen.getStreams],
      ['modern_sleep', () => modern.open()],
    ] as const) {
      const calls = Array.from({ length: CANCELLED / 2 }, () =>
        openStateless(hub, 'tools/call', { name, arguments: { ms: 60_000 } }),
      );
      // Not all of them find a place at the server; those that wait for one must go too.
      await until(() => open() > 1, 10_000, name);
      await delay(500);
      for (const one of calls) one.drop();
      const slow = await slowness();
      await until(() => open() === 0, 2020 * slow, `${name}: no request is left`);
    }
    await delay(500);
    const byNumber = (ids: readonly unknown[]) => ids.map(Number).sort((a, b) => a - b);
    assert.ok(called.length > 1);
    const ended = byNumber(cancelled);
    assert.equal(new Set(ended).size, ended.length, 'none is cancelled twice');
    // A request that was closed while it waited for a connection is cancelled too, and the server has not seen it.
    assert.deepEqual(
      byNumber(called).filter((id) => !ended.includes(id)),
      [],
      'each is cancelled',
    );
    const sleeps = modern.methods.slice(methodsBefore).filter((method) => method === 'tools/call').length;
    assert.equal(modern.closed() - closedBefore, sleeps);
    for (const [, ask] of eras)
      for (const name of ['web_echo', 'modern_echo'])
        assert.match((await ask('tools/call', { name, arguments: { text: 'after' } })).text, /after/);
  });

  test('behaviour 25 [B25]: ids and tokens come back as they were, and progress ends with the result', async () => {
    for (const id of [0, -7, 'zero', '9'.repeat(60)]) {
      for (const name of ['web_report', 'modern_report', 'child_report']) {
        const token = typeof id === 'string' ? `t-${id}` : id;
        const params = { name, arguments: { text: 'x', steps: 3, ms: 1, late: 2 }, _meta: { progressToken: token } };
        for (const [era, ask] of eras) {
          const answer = await ask('tools/call', params, id);
          const messages = answer.text
            .split('\n')
            .flatMap((line) => (line.startsWith('data: {') ? [JSON.parse(line.slice(6))] : []));
          const progress = messages.filter(({ method }) => method === 'notifications/progress');
          assert.deepEqual(
            progress.map(({ params: { progressToken, progress: step } }) => [progressToken, step]),
            [1, 2, 3].map((step) => [token, step]),
            `${era} ${name}`,
          );
          assert.strictEqual(messages.at(-1)?.id, id);
          assert.ok(messages.at(-1)?.result);
        }
      }
    }
  });

  test('behaviour 24 [B24]: no server has seen a key of a user, and those of the newer era have nothing to complain of', async () => {
    const marked = { key: hub.key, headers: { 'x-secret': 'mine', cookie: 'mcphub_cookie=1' } };
    await post(url, { jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'web_echo' } }, marked);
    for (const value of Object.values(web.seen.lastHeaders)) assert.doesNotMatch(String(value), /mcphub_|mine/);
    assert.deepEqual(modern.complaints, []);
  });
});
