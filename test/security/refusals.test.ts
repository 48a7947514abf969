/**
 * A key above its limits is refused before its call is parsed, and keeps its connection.
 */
import assert from 'node:assert/strict';
import { Agent, request } from 'node:http';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { ROOT, type RunningHub, startHub, until } from '../support/hub.ts';
import { Client } from '../support/load.ts';
import { type RawExchange, rawExchange } from '../support/raw-client.ts';

const STUCK = { command: process.execPath, args: [join(ROOT, 'test/support/fault-stdio.ts'), 'normal'] };

interface Seen {
  readonly status: number;
  readonly body: { id: unknown; error?: { code: number; data: { code: string; setting?: string } } };
  readonly connection: string | undefined;
  readonly port: number | undefined;
}

function post(hub: RunningHub, agent: Agent, text: string): Promise<Seen> {
  return new Promise((resolve, reject) => {
    const headers = { authorization: `Bearer ${hub.key}`, 'content-type': 'application/json' };
    const asked = request({ host: '127.0.0.1', port: hub.port, path: '/mcp', method: 'POST', agent, headers });
    asked.on('response', (answer) => {
      const port = answer.socket.localPort;
      let body = '';
      answer.on('data', (chunk: Buffer) => {
        body += chunk.toString();
      });
      answer.on('end', () =>
        resolve({
          status: answer.statusCode ?? 0,
          body: body === '' ? { id: undefined } : JSON.parse(body),
          connection: answer.headers.connection,
          port,
        }),
      );
    });
    asked.on('error', reject);
    asked.end(text);
  });
}

test('returns 429 for a small call on a kept connection without parsing it, and before reading a large one', async () => {
  await using hub = await startHub({ config: { mcpServers: {} }, env: { MCPHUB_KEY_PER_SECOND: '1' } });
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const ping = JSON.stringify({ jsonrpc: '2.0', id: 7, method: 'ping' });
  let first: Seen | undefined;
  for (let tries = 0; tries < 50 && first?.status !== 429; tries += 1) first = await post(hub, agent, ping);
  assert.equal(first?.status, 429);
  // The body has not been parsed: it is not even JSON.
  const broken = await post(hub, agent, '{"method": "ping", ');
  assert.deepEqual([broken.status, broken.body.id, broken.body.error?.data.code], [429, null, 'rate-limited']);
  assert.equal(broken.body.error?.data.setting, 'keyPerSecond');
  assert.equal(broken.port, first.port, 'on the same connection');
  const large = await post(hub, agent, `{"method": "ping", "x": "${'x'.repeat(200_000)}"}`);
  assert.deepEqual([large.status, large.connection], [429, 'close']);
  agent.destroy();
});

test('takes a cancellation from a key with too many calls in flight, however its method is escaped', async () => {
  await using hub = await startHub({ config: { mcpServers: { a: STUCK } }, env: { MCPHUB_KEY_IN_FLIGHT: '1' } });
  const client = new Client(hub);
  const stuck = client.call('a_stuck');
  const agent = new Agent();
  const statusOf = async (text: string): Promise<number> => (await post(hub, agent, text)).status;
  await until(
    async () => (await statusOf('{"jsonrpc":"2.0","id":2,"method":"ping"}')) === 429,
    5000,
    'the call to be inside',
  );
  for (const method of ['notifications/cancelled', 'notifications\\/cancelled'])
    assert.equal(await statusOf(`{"jsonrpc":"2.0","method":"${method}","params":{"requestId":99}}`), 202, method);
  client.close();
  await stuck;
});

describe('a refusal that comes before the body', () => {
  const PING = '{"jsonrpc":"2.0","id":1,"method":"ping"}';
  let hub: RunningHub;
  before(async () => {
    hub = await startHub({
      config: { mcpServers: {} },
      env: { MCPHUB_KEY_PER_SECOND: '1', MCPHUB_REQUEST_MS: '1000', MCPHUB_HEADERS_MS: '1000' },
    });
  });
  after(() => hub[Symbol.asyncDispose]());

  const head = (...more: string[]): string =>
    [
      'POST /mcp HTTP/1.1',
      'Host: 127.0.0.1',
      `Authorization: Bearer ${hub.key}`,
      'Content-Type: application/json',
      ...more,
    ].join('\r\n');
  const length = `Content-Length: ${PING.length}`;
  /** Sends the bytes while the key has no token; one comes back each second. */
  async function exchange(...pieces: string[]): Promise<RawExchange> {
    for (let tries = 0; ; tries += 1) {
      const agent = new Agent();
      while ((await post(hub, agent, PING)).status !== 429);
      const seen = await rawExchange({ port: hub.port }, pieces, { gapMs: 20 });
      if (seen.answers[0]?.status === 429 || tries === 10) return seen;
    }
  }

  test('leaves the connection usable when the body comes later, and answers the requests in order', async () => {
    const pings = Array.from({ length: 3 }, () => [`${head(length)}\r\n\r\n${PING.slice(0, 9)}`, PING.slice(9)]).flat();
    const last = 'GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n';
    const { answers, rest, closed } = await exchange(...pings, last);
    assert.deepEqual(
      answers.map(({ status }) => status),
      [429, 429, 429, 200],
    );
    const [first] = answers;
    assert.ok(first);
    const { headers, body } = first;
    assert.equal(JSON.parse(body).id, null);
    assert.equal(headers['retry-after'], '1');
    assert.equal(headers['x-content-type-options'], 'nosniff');
    assert.equal(headers['cache-control'], 'no-store');
    assert.ok(Math.abs(Date.now() - Date.parse(headers.date ?? '')) < 10_000);
    assert.deepEqual([rest, closed], ['', true]);
  });

  test('is the only answer to its request, also when the body never comes', async () => {
    const { answers, rest, closed } = await exchange(`${head(length)}\r\n\r\n{`);
    assert.deepEqual([answers.map(({ status }) => status), rest, closed], [[429], '', true]);
  });

  test('closes the connection when the body is chunked or waits for 100 Continue, or when the client asks for it', async () => {
    for (const more of [
      'Transfer-Encoding: chunked',
      `${length}\r\nExpect: 100-continue`,
      `${length}\r\nConnection: close`,
    ]) {
      const { answers, rest, closed } = await exchange(`${head(more)}\r\n\r\n`);
      assert.deepEqual([answers.map(({ status }) => status), rest, closed], [[429], '', true], more);
      assert.equal(answers[0]?.headers.connection, 'close', more);
    }
  });

  test('carries the headers that a browser needs', async () => {
    const { answers } = await exchange(
      `${head(length, 'Origin: http://localhost')}\r\n\r\n${PING}`,
      'GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n',
    );
    assert.deepEqual(
      [answers[0]?.status, answers[0]?.headers['access-control-allow-origin']],
      [429, 'http://localhost'],
    );
  });
});
