/**
 * A key above its limits is refused before its call is parsed, and keeps its connection.
 */
import assert from 'node:assert/strict';
import { Agent, request } from 'node:http';
import { test } from 'node:test';
import { type RunningHub, startHub } from '../support/hub.ts';

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
