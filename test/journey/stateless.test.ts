/**
 * Clients of 2026-07-28 through a whole hub whose servers speak the 2025 dates: the official SDK, and requests byte by
 * byte.
 */
// covers: P1, P17, P18
import assert from 'node:assert/strict';
import { renameSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { after, before, describe, test } from 'node:test';
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { type EverythingHttp, startEverythingHttp } from '../conformance/everything-http.ts';
import { type FaultHttp, startFaultHttp } from '../support/fault-http.ts';
import { type RunningHub, startHub, until } from '../support/hub.ts';
import { askHub, median, slowness, stdioServer } from '../support/load.ts';
import { openSession, type RpcAnswer, rpc } from '../support/mcp.ts';
import { EVERYTHING } from '../support/real-servers.ts';
import { Reading } from '../support/sse-client.ts';
import {
  MODERN,
  openStateless,
  type StatelessOptions,
  type StatelessParams,
  stateless,
  statelessBody,
  statelessHeaders,
} from '../support/stateless.ts';

const ASK_MS = 3000;

interface World {
  readonly hub: RunningHub;
  readonly web: FaultHttp;
  readonly hung: FaultHttp;
  readonly everything: EverythingHttp;
  readonly config: { mcpServers: Record<string, object> };
  readonly url: string;
}

for (const hubs of [1, 2]) {
  describe(`clients of 2026-07-28, ${hubs} hub(s), and`, { timeout: 300_000 }, () => {
    let world: World;
    const ask = (
      method: string,
      params: StatelessParams,
      options: Partial<StatelessOptions> = {},
    ): Promise<RpcAnswer> => stateless(world.url, method, params, { key: world.hub.key, ...options });
    const call = (name: string, args: object = {}, more: object = {}, options: Partial<StatelessOptions> = {}) =>
      ask('tools/call', { name, arguments: args, ...more }, options);

    before(async () => {
      const [web, hung] = [await startFaultHttp(), await startFaultHttp({ silent: true, faultMethods: ['*'] })];
      const everything = await startEverythingHttp();
      const config = {
        mcpServers: {
          everything: { ...EVERYTHING, interactive: true },
          asking: { url: everything.url, interactive: true },
          plain: stdioServer(),
          web: { url: web.url },
          hung: { url: hung.url },
        },
      };
      const env = { MCPHUB_ASK_USER_MS: String(ASK_MS), MCPHUB_PARKED_PER_KEY: '2' };
      const hub = await startHub({ config, env, args: ['--workers', String(hubs)] });
      world = { hub, web, hung, everything, config, url: `${hub.url}/mcp` };
      for (const name of ['everything_echo', 'plain_echo', 'web_echo', 'asking_test_simple_text'])
        await until(
          async () => (await call(name, { message: 'x', text: 'x' })).json?.result?.content !== undefined,
          60_000,
          name,
        );
    });
    after(async () => {
      await world.hub[Symbol.asyncDispose]();
      await Promise.all([world.web.close(), world.hung.close(), world.everything.close()]);
    });

    test('[F3]: the official client, pinned to the date, lists, calls, hears progress and answers questions', async () => {
      const client = new Client(
        { name: 'sdk-v2', version: '1' },
        { capabilities: { elicitation: {}, sampling: {}, roots: {} }, versionNegotiation: { mode: { pin: MODERN } } },
      );
      client.setRequestHandler('elicitation/create', () => ({
        action: 'accept',
        content: { name: 'Ada', check: true, color: 'blue' },
      }));
      client.setRequestHandler('sampling/createMessage', () => ({
        role: 'assistant',
        content: { type: 'text', text: 'it is Paris' },
        model: 'm',
      }));
      client.setRequestHandler('roots/list', () => ({ roots: [{ uri: 'file:///one', name: 'one' }] }));
      const headers = { Authorization: `Bearer ${world.hub.key}` };
      await client.connect(new StreamableHTTPClientTransport(new URL(world.url), { requestInit: { headers } }));
      try {
        const { tools } = await client.listTools();
        assert.ok(tools.some(({ name }) => name === 'everything_echo'));
        const textOf = (result: unknown): string => JSON.stringify(result);
        const echoed = await client.callTool({ name: 'everything_echo', arguments: { message: 'hi' } });
        assert.match(textOf(echoed), /Echo: hi/);
        const steps: number[] = [];
        await client.callTool(
          { name: 'everything_trigger_long_running_operation', arguments: { duration: 1, steps: 3 } },
          { onprogress: ({ progress }) => steps.push(progress) },
        );
        // The child asks for roots when it is new, and this client reports a round of questions as progress of its own.
        assert.deepEqual([...new Set(steps)], [1, 2, 3]);
        const elicited = await client.callTool({ name: 'everything_trigger_elicitation_request', arguments: {} });
        assert.match(textOf(elicited), /Ada/);
        const sampled = await client.callTool({
          name: 'everything_trigger_sampling_request',
          arguments: { prompt: 'capital of France?' },
        });
        assert.match(textOf(sampled), /it is Paris/);
        const rooted = await client.callTool({ name: 'everything_get_roots_list', arguments: {} });
        assert.match(textOf(rooted), /file:\/\/\/one/);
        const rounds = await client.callTool({ name: 'asking_test_input_required_result_multi_round', arguments: {} });
        assert.match(textOf(rounds), /Ada likes blue/);
      } finally {
        await client.close();
      }
    });

    test('behaviours 1 and 11 [B1, B11]: both eras alternate on one address and one key, each in its own shape', async () => {
      const session = await openSession(world.url, world.hub.key);
      for (let round = 0; round < 5; round += 1) {
        const modern = (await ask('tools/list', {})).json.result;
        assert.deepEqual([modern.resultType, modern.cacheScope, modern.ttlMs >= 0], ['complete', 'private', true]);
        const legacy = (await rpc(world.url, 'tools/list', {}, { key: world.hub.key, session })).json.result;
        for (const key of ['resultType', 'cacheScope', 'ttlMs']) assert.equal(legacy[key], undefined, key);
        assert.deepEqual(
          legacy.tools.map(({ name }: { name: string }) => name),
          modern.tools.map(({ name }: { name: string }) => name),
        );
        const called = (await call('plain_echo', { text: 'x' })).json.result;
        assert.deepEqual([called.resultType, called.ttlMs], ['complete', undefined]);
        const old = await rpc(
          world.url,
          'tools/call',
          { name: 'plain_echo', arguments: { text: 'x' } },
          { key: world.hub.key, session },
        );
        assert.equal(old.json.result.resultType, undefined);
      }
    });

    test('behaviours 3, 4 and 5 [B4, B5]: discover at once; who contradicts himself is refused, and no server hears of it', async () => {
      const discovered = await ask('server/discover', {});
      const slow = await slowness();
      assert.ok(discovered.ms < 220 * slow, `${discovered.ms} ms with a server that hangs`);
      assert.ok(discovered.json.result.supportedVersions.includes(MODERN));
      const before = world.web.seen.byMethod['tools/call'] ?? 0;
      const name = 'web_echo';
      const wrong = async (
        headers: NonNullable<StatelessOptions['headers']>,
        status: number,
        code: number,
      ): Promise<void> => {
        const answer = await ask('tools/call', { name, arguments: { text: 'x' } }, { id: 'mine', headers });
        assert.deepEqual([answer.status, answer.json.error.code, answer.json.id], [status, code, 'mine']);
      };
      await wrong({ 'mcp-protocol-version': '2025-11-25' }, 400, -32020);
      await wrong({ 'mcp-protocol-version': undefined }, 400, -32020);
      await wrong({ 'mcp-method': undefined }, 400, -32020);
      await wrong({ 'mcp-method': 'tools/list' }, 400, -32020);
      await wrong({ 'mcp-name': undefined }, 400, -32020);
      await wrong({ 'mcp-name': 'plain_echo' }, 400, -32020);
      await wrong({ 'mcp-name': '=?base64?%%%?=' }, 400, -32020);
      assert.equal(world.web.seen.byMethod['tools/call'] ?? 0, before);
      const encoded = `=?base64?${Buffer.from(name).toString('base64')}?=`;
      const good = await ask('tools/call', { name, arguments: { text: 'x' } }, { headers: { 'mcp-name': encoded } });
      assert.equal(good.json.result.resultType, 'complete');
      for (const method of [
        'ping',
        'initialize',
        'logging/setLevel',
        'resources/subscribe',
        'tasks/get',
        'none/such',
      ]) {
        const answer = await ask(method, {}, { id: 7 });
        assert.deepEqual([answer.status, answer.json.error.code, answer.json.id], [404, -32601, 7], method);
      }
      const naked = await rpc(
        world.url,
        'tools/list',
        {},
        {
          key: world.hub.key,
          headers: { 'mcp-protocol-version': MODERN },
        },
      );
      assert.deepEqual([naked.status, naked.json.error.code], [400, -32602]);
      const future = statelessBody('tools/list', {}, {}) as { params: { _meta: Record<string, unknown> } };
      future.params._meta['io.modelcontextprotocol/protocolVersion'] = '2099-01-01';
      const answer = await fetch(world.url, {
        method: 'POST',
        headers: { 'content-type': 'application/json', authorization: `Bearer ${world.hub.key}` },
        body: JSON.stringify(future),
      });
      const { error } = (await answer.json()) as { error: { code: number; data: { supported: string[] } } };
      assert.deepEqual([answer.status, error.code, error.data.supported.includes(MODERN)], [400, -32022, true]);
      const stranger = await ask('tools/list', {}, { key: `mcphub_${'0'.repeat(64)}` });
      assert.equal(stranger.status, 401);
    });

    test('behaviour 17 [B17]: a state that is altered, used, or another’s is refused, and the right one still works', async () => {
      const tool = 'asking_test_input_required_result_elicitation';
      const other = await fetch(`${world.hub.url}/api/keys`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', authorization: `Bearer ${world.hub.key}` },
        body: JSON.stringify({ user: 'bea', name: 'b', role: 'member' }),
      });
      const { secret } = (await other.json()) as { secret: string };
      const first = (await call(tool)).json.result;
      assert.equal(first.resultType, 'input_required');
      const [key = ''] = Object.keys(first.inputRequests);
      const answers = { [key]: { action: 'accept', content: { name: 'Ada' } } };
      const retry = (state: string, how: { name?: string; args?: object; options?: Partial<StatelessOptions> } = {}) =>
        call(how.name ?? tool, how.args ?? {}, { requestState: state, inputResponses: answers }, how.options);
      const refused = async (answer: Promise<RpcAnswer>, why: string): Promise<void> => {
        const { json } = await answer;
        assert.equal(json.error?.code, -32602, `${why}: ${JSON.stringify(json)}`);
      };
      const { requestState } = first;
      const flipped = requestState.slice(0, -3) + (requestState.endsWith('AAA') ? 'BBB' : 'AAA');
      await refused(retry(flipped), 'altered');
      await refused(retry(requestState, { name: 'asking_test_input_required_result_tampered_state' }), 'another tool');
      await refused(retry(requestState, { args: { a: 1 } }), 'other arguments');
      await until(async () => (await ask('tools/list', {}, { key: secret })).status === 200, 10_000, 'the other key');
      await refused(retry(requestState, { options: { key: secret } }), 'another user');
      const done = (await retry(requestState)).json.result;
      assert.match(JSON.stringify(done), /Hello, Ada!/);
      await refused(retry(requestState), 'used');
    });

    test('behaviour 15 [B15]: what one connection was asked another answers, also at another hub', async () => {
      for (let round = 0; round < 4; round += 1) {
        const first = (await call('asking_test_input_required_result_multi_round')).json.result;
        let { requestState, inputRequests } = first;
        let result: { resultType?: string } = first;
        for (const content of [{ name: 'Ada' }, { color: 'blue' }]) {
          const [key = ''] = Object.keys(inputRequests);
          const inputResponses = { [key]: { action: 'accept', content } };
          const params = { name: 'asking_test_input_required_result_multi_round', arguments: {} };
          const body = statelessBody('tools/call', { ...params, requestState, inputResponses }, {});
          // A connection of its own, which lands on the next hub in turn.
          const sent = request({
            ...{ host: '127.0.0.1', port: world.hub.port, path: '/mcp', method: 'POST', agent: false },
            headers: {
              ...statelessHeaders('tools/call', params),
              'content-type': 'application/json',
              authorization: `Bearer ${world.hub.key}`,
            },
          });
          const reading = new Reading(sent);
          sent.end(JSON.stringify(body));
          await reading.end();
          const text = reading.isStream ? (reading.messages.at(-1) ?? '') : reading.body;
          result = JSON.parse(text).result;
          assert.ok(result, text);
          ({ requestState, inputRequests } = result as typeof first);
        }
        assert.match(JSON.stringify(result), /Ada likes blue/);
      }
    });

    test('a missing answer is asked for again; calls that wait are few for a key, and end without their user', async () => {
      const tool = 'asking_test_input_required_result_elicitation';
      const first = (await call(tool)).json.result;
      const again = (await call(tool, {}, { requestState: first.requestState, inputResponses: {} })).json.result;
      assert.equal(again.resultType, 'input_required');
      assert.deepEqual(Object.keys(again.inputRequests), Object.keys(first.inputRequests));
      if (hubs > 1) return;
      const second = (await call(tool)).json.result;
      assert.equal(second.resultType, 'input_required');
      // The server is told, and says so in its own way.
      assert.match((await call(tool)).text, /Too many calls of this key/);
      const parked = async (): Promise<number> => {
        const all = (await askHub(world.hub, '/api/ceilings')) as unknown;
        return Number(/"call\.parked"[^}]*?"size":(\d+)/.exec(JSON.stringify(all))?.[1] ?? -1);
      };
      await until(async () => (await parked()) === 0, ASK_MS + 10_000, 'nobody waits any more');
      const late = await call(tool, {}, { requestState: again.requestState, inputResponses: {} });
      assert.equal(late.json.error.code, -32602);
    });

    // row C11 · guards src/downstream/stateless.ts
    test('behaviour 10 [D10]: closing the request cancels the call at its server within a second', async () => {
      const before = world.web.seen.byMethod['notifications/cancelled'] ?? 0;
      const gone = openStateless(world.hub, 'tools/call', { name: 'web_sleep', arguments: { ms: 20_000 } });
      await until(() => world.web.seen.open > 0, 5000, 'the call');
      await new Promise((done) => setTimeout(done, 300));
      gone.drop();
      const slow = await slowness();
      await until(() => (world.web.seen.byMethod['notifications/cancelled'] ?? 0) > before, 2020 * slow, 'the cancel');
    });

    test('behaviours 18 and 19 [B19]: listen is acknowledged at once with a server that hangs, tagged, filtered, and ends with a result', async () => {
      const took: number[] = [];
      for (let at = 0; at < 5; at += 1) {
        const bornMs = performance.now();
        const one = openStateless(world.hub, 'subscriptions/listen', { notifications: { toolsListChanged: true } });
        await one.hasMessages(1);
        took.push(performance.now() - bornMs);
        one.drop();
      }
      const slow = await slowness();
      assert.ok(median(took) < 220 * slow, `${took.map(Math.round)} ms`);
      const all = openStateless(world.hub, 'subscriptions/listen', {
        notifications: { toolsListChanged: true, resourceSubscriptions: ['test://watched-resource', 'no://such'] },
      });
      const none = openStateless(world.hub, 'subscriptions/listen', { notifications: {} });
      const prompts = openStateless(world.hub, 'subscriptions/listen', { notifications: { promptsListChanged: true } });
      await all.hasMessages(1);
      const [ack = ''] = all.messages;
      const tag = { 'io.modelcontextprotocol/subscriptionId': 'sub-1' };
      assert.deepEqual(JSON.parse(ack), {
        jsonrpc: '2.0',
        method: 'notifications/subscriptions/acknowledged',
        params: {
          _meta: tag,
          notifications: { toolsListChanged: true, resourceSubscriptions: ['test://watched-resource'] },
        },
      });
      await none.end();
      assert.deepEqual(JSON.parse(none.messages.at(-1) ?? '').result, { resultType: 'complete', _meta: tag });
      await prompts.hasMessages(1);
      await call('asking_test_change_watched_resource');
      await all.hasMessages(2, 10_000);
      assert.deepEqual(JSON.parse(all.messages[1] ?? ''), {
        jsonrpc: '2.0',
        method: 'notifications/resources/updated',
        params: { _meta: tag, uri: 'test://watched-resource' },
      });
      const more = { ...world.config.mcpServers, another: stdioServer() };
      writeFileSync(`${world.hub.configFile}.new`, JSON.stringify({ mcpServers: more }));
      renameSync(`${world.hub.configFile}.new`, world.hub.configFile);
      world.hub.child.kill('SIGHUP');
      await all.hasMessages(3, 10_000);
      assert.deepEqual(JSON.parse(all.messages[2] ?? ''), {
        jsonrpc: '2.0',
        method: 'notifications/tools/list_changed',
        params: { _meta: tag },
      });
      assert.equal(prompts.messages.length, 1, 'nothing that was not asked for');
      assert.equal(await world.hub.stop(), 0);
      await Promise.all([all.end(), prompts.end()]);
      for (const one of [all, prompts]) {
        const last = JSON.parse(one.messages.at(-1) ?? '');
        assert.deepEqual([last.id, last.result], ['sub-1', { resultType: 'complete', _meta: tag }]);
      }
    });
  });
}
