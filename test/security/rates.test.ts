/**
 * The rate of a key counts every request to the endpoints, and what a client does in normal use stays far below it.
 */
// runs: in pairs, about 25 s
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { startCuttingProxy } from '../support/cutting-proxy.ts';
import { delay, type RunningHub, startHub, until } from '../support/hub.ts';
import { stdioServer } from '../support/load.ts';
import { rpc } from '../support/mcp.ts';
import { connectV1, connectV2 } from '../support/users.ts';

const PER_SECOND = 8;
/** SDK v2 gives up a stream after two returns on which nothing was said. */
const ROUNDS = 2;

describe('a key above its rate', { timeout: 60_000 }, () => {
  let hub: RunningHub;
  before(async () => {
    hub = await startHub({ config: { mcpServers: {} }, env: { MCPHUB_KEY_PER_SECOND: String(PER_SECOND) } });
  });
  after(() => hub?.[Symbol.asyncDispose]());

  async function ask(method: string, path: string, more: Record<string, string> = {}): Promise<Response> {
    const headers = { authorization: `Bearer ${hub.key}`, accept: 'text/event-stream', ...more };
    return fetch(`${hub.url}${path}`, { method, headers, signal: AbortSignal.timeout(5000) });
  }

  /** Asks until one is refused for the rate; what it read before is closed. */
  async function untilRefused(method: string, path: string, more?: Record<string, string>): Promise<Response> {
    for (let count = 0; count < 20 * PER_SECOND; count += 1) {
      const answer = await ask(method, path, more);
      if (answer.status === 429) return answer;
      await answer.body?.cancel();
    }
    return assert.fail(`${method} ${path} was never refused`);
  }

  const FORMS: readonly (readonly [string, string, Record<string, string>?])[] = [
    ['GET', '/mcp'],
    ['DELETE', '/mcp'],
    ['DELETE', '/mcp', { 'mcp-session-id': 'nobody' }],
    ['GET', '/mcp', { 'mcp-session-id': 'nobody', 'last-event-id': 'x' }],
    ['GET', '/mcp', { origin: 'http://localhost' }],
    // What is passed on by another worker is counted as well: anybody can send this header.
    ['GET', '/mcp', { 'x-mcphub-hop': '1' }],
    ['GET', '/sse'],
    ['GET', '/sse', { origin: 'http://localhost' }],
  ];
  for (const [method, path, more] of FORMS)
    test(`gets 429 for ${method} ${path} ${Object.keys(more ?? {})}, and may come back`, async () => {
      const refused = await untilRefused(method, path, more);
      assert.ok(Number(refused.headers.get('retry-after')) >= 1);
      assert.equal(refused.headers.get('content-type'), 'application/json');
      assert.equal(refused.headers.get('access-control-allow-origin'), more?.origin ?? null);
      const { id, error } = (await refused.json()) as { id: unknown; error: { code: number; data: object } };
      assert.deepEqual([id, error.code], [null, -32005]);
      const { code, setting } = error.data as { code: string; setting: string };
      assert.deepEqual([code, setting], ['rate-limited', 'keyPerSecond']);
      await delay(1000);
      const again = await ask(method, path, more);
      assert.notEqual(again.status, 429);
      await again.body?.cancel();
    });

  /** Asks while the key has no token; one comes back every 125 ms. */
  async function whenSpent(request: () => Promise<{ readonly status: number }>): Promise<number> {
    for (let tries = 0; ; tries += 1) {
      await untilRefused('GET', '/mcp');
      const { status } = await request();
      if (status === 429 || tries === 10) return status;
    }
  }

  test('has one rate for calls, streams and the ends of sessions', async () => {
    const ended = { 'mcp-session-id': 'nobody' };
    assert.equal(await whenSpent(() => rpc(`${hub.url}/mcp`, 'ping', {}, { key: hub.key })), 429);
    assert.equal(await whenSpent(() => ask('DELETE', '/mcp', ended)), 429);
    assert.equal(await whenSpent(() => ask('GET', '/sse')), 429);
  });
});

describe('clients of the official SDKs whose connections are cut each second', { timeout: 90_000 }, () => {
  for (const [sdk, connect] of [
    ['v1', connectV1],
    ['v2', connectV2],
  ] as const)
    test(`SDK ${sdk} comes back each time with a handful of calls, and is never refused for its rate`, async () => {
      await using hub = await startHub({
        config: { mcpServers: { child: stdioServer() } },
        env: { MCPHUB_KEY_PER_SECOND: String(PER_SECOND) },
      });
      await until(
        async () => (await rpc(`${hub.url}/mcp`, 'tools/list', {}, { key: hub.key })).text.includes('child_echo'),
        20_000,
        'the server',
      );
      // The questions have taken of the rate.
      await delay(1000);
      await using proxy = await startCuttingProxy(hub.port);
      await using user = await connect({ url: `http://127.0.0.1:${proxy.port}/mcp`, key: hub.key });
      // A stream that is cut before the server has answered is not opened again by every client.
      const gets = (): number => proxy.heads.filter((head) => head.startsWith('GET ')).length;
      const hasStream = (more: number): boolean => gets() >= more && proxy.streams >= more;
      await until(() => hasStream(1), 10_000, 'the first stream');
      for (let round = 0; round < ROUNDS; round += 1) {
        proxy.cut();
        await delay(100);
        for (let call = 0; call < 3; call += 1) await user.can.call('child_echo', { text: 'x' });
        await until(() => hasStream(round + 2), 20_000, 'the stream after a cut');
      }
      assert.ok(!hub.lines.some(({ code }) => code === 'rate-limited'), hub.log.slice(-2000));
    });
});
