/** Servers that take their time for notifications/initialized, or never answer it. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { delay, type RunningHub, startHub, until } from '../support/hub.ts';
import { callTool } from '../support/mcp.ts';
import { startWireServer, type WireRequest, type WireServer } from '../support/wire-server.ts';

/** How a server refuses what comes before it is initialized. */
const FORMS: Readonly<Record<string, (at: WireRequest) => void>> = {
  error: ({ response, message }) => {
    const error = { code: -32002, message: 'not initialized' };
    response.writeHead(200, { 'content-type': 'application/json' });
    response.end(JSON.stringify({ jsonrpc: '2.0', id: message.id, error }));
  },
  page: ({ response }) => void response.writeHead(400, { 'content-type': 'text/plain' }).end('not initialized'),
  session: ({ response }) => void response.writeHead(404).end('session not initialized'),
};
const SLOW_MS = 3000;

describe('a server that is slow with notifications/initialized', { timeout: 60_000 }, () => {
  let hub: RunningHub;
  const servers: Record<string, WireServer> = {};
  const refused: Record<string, number> = {};
  let bornMs = 0;
  before(async () => {
    for (const [name, refuse] of Object.entries(FORMS)) {
      let isInitialized = false;
      refused[name] = 0;
      const on = (at: WireRequest): boolean => {
        const { method } = at.message;
        if (method === 'notifications/initialized') {
          void delay(SLOW_MS).then(() => {
            isInitialized = true;
            at.response.writeHead(202).end();
          });
          return true;
        }
        if (method === undefined || method === 'initialize' || isInitialized) return false;
        refused[name] = (refused[name] ?? 0) + 1;
        refuse(at);
        return true;
      };
      servers[name] = await startWireServer({ on });
    }
    servers.never = await startWireServer({ on: ({ message }) => message.method === 'notifications/initialized' });
    const mcpServers = Object.fromEntries(
      Object.entries(servers).map(([name, { url }]) => [name, { type: 'streamable-http', url }]),
    );
    hub = await startHub({ config: { mcpServers } });
    bornMs = performance.now();
  });
  after(async () => {
    await hub?.[Symbol.asyncDispose]();
    for (const server of Object.values(servers)) await server[Symbol.asyncDispose]();
  });
  const call = async (name: string) => (await callTool(`${hub.url}/mcp`, `${name}_echo`, {}, { key: hub.key })).json;

  // case: SV35
  test('is ready once it has answered it, at its first connection', async () => {
    for (const name of Object.keys(FORMS)) {
      const { result, error } = await call(name);
      assert.ok(result, `${name}: ${JSON.stringify(error)}`);
      assert.equal(servers[name]?.count('initialize'), 1, name);
      assert.equal(servers[name]?.count('notifications/initialized'), 1, name);
      assert.equal(servers[name]?.count('tools/call'), 1, name);
      assert.ok((refused[name] ?? 0) <= 1, `${refused[name]} requests came too early`);
    }
  });

  // case: SV35
  test('is used after a second when it never answers it', async () => {
    assert.ok(await until(async () => (await call('never')).result !== undefined, 5000, 'a call'));
    assert.ok(performance.now() - bornMs < 10_000);
    assert.equal(servers.never?.count('initialize'), 1);
  });
});
