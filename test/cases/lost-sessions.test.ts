import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { delay, type RunningHub, startHub, until } from '../support/hub.ts';
import { callTool, rpc } from '../support/mcp.ts';
import { scriptedProgram } from '../support/scripted-server.ts';
import { FORMS, type Form, type SessionServer, startSessionServer } from '../support/session-server.ts';

// biome-ignore lint/suspicious/noExplicitAny: answers are looked into by the tests
type Loose = any;

/** Short rests, so that what takes a minute takes seconds. */
const ENV = { MCPHUB_PING_EVERY_MS: '1000', MCPHUB_PING_MS: '500' };
/** Pings, a trial and a reconnect at these settings, with room. */
const HEALED_MS = 20_000;

/** The modes of servers that do not answer ping. */
const PINGS = { silent: 'silent', notfound: 404, notallowed: 405, broken: 500, accepted: 202 } as const;

describe('a server that is well again is used again', { timeout: 120_000 }, () => {
  let hub: RunningHub;
  const servers: Record<string, SessionServer> = {};

  async function call(server: string, tool = 'echo'): Promise<Loose> {
    return (await callTool(`${hub.url}/mcp`, `${server}_${tool}`, {}, { key: hub.key })).json;
  }
  const isCalled = async (server: string): Promise<boolean> =>
    (await call(server))?.result?.content?.[0]?.text === 'called';

  before(async () => {
    for (const [name, form] of Object.entries(FORMS)) {
      servers[name] = await startSessionServer({ form });
      servers[`idle${name}`] = await startSessionServer({ form });
    }
    for (const [name, ping] of Object.entries(PINGS)) servers[`ping${name}`] = await startSessionServer({ ping });
    servers.typed = await startSessionServer();
    servers.untyped = await startSessionServer();
    servers.freeping404 = await startSessionServer({ ping: 'always' });
    servers.freeping422 = await startSessionServer({ ping: 'always', form: FORMS.unprocessable as Form });
    servers.strict = await startSessionServer();
    servers.era = await startSessionServer({ sessions: false });
    servers.tools = await startSessionServer({ sessions: false });
    const mcpServers: Record<string, object> = {
      pingstdio: scriptedProgram({ ping: '{"jsonrpc":"2.0","method":"notifications/nothing","params":{"of":$ID}}' }),
    };
    for (const [name, { url }] of Object.entries(servers))
      mcpServers[name] = name === 'typed' ? { type: 'streamable-http', url } : { url };
    hub = await startHub({ config: { mcpServers }, env: ENV });
    for (const name of Object.keys(servers)) await until(() => isCalled(name), 20_000, `${name} is ready`);
  });
  after(async () => {
    await hub?.[Symbol.asyncDispose]();
    for (const server of Object.values(servers)) await server[Symbol.asyncDispose]();
  });

  // case: SV12
  test('at once where HTTP says that the session is not known: the call is sent again in a new one', async () => {
    for (const type of ['typed', 'untyped']) {
      servers[type]?.forget();
      assert.ok(await isCalled(type), type);
      assert.equal(servers[type]?.seen.initialize, 2, type);
    }
  });

  // case: SV12
  test('in whatever form it says that it has lost the session', async () => {
    for (const name of Object.keys(FORMS)) servers[name]?.forget();
    const startMs = performance.now();
    const left = new Set(Object.keys(FORMS));
    while (left.size > 0 && performance.now() - startMs < HEALED_MS) {
      for (const name of left) if (await isCalled(name)) left.delete(name);
      await delay(200);
    }
    assert.deepEqual([...left], [], 'not healed');
  });

  // case: SV12
  test('when it answers ping without looking at the session too', async () => {
    for (const name of ['freeping404', 'freeping422']) {
      servers[name]?.forget();
      await until(() => isCalled(name), HEALED_MS, name);
    }
  });

  // case: SV12
  test('when nobody calls it too', async () => {
    const names = Object.keys(FORMS).map((name) => `idle${name}`);
    for (const name of names) servers[name]?.forget();
    await until(() => names.every((name) => (servers[name]?.seen.initialize ?? 0) >= 2), HEALED_MS, 'new sessions');
    for (const name of names) await until(() => isCalled(name), 5000, `${name} is well`);
  });

  // case: SV12b
  test('and a request that it answers 404 leaves a good session alone', async () => {
    const { strict } = servers;
    const before = strict?.seen['tools/call'] ?? 0;
    for (let round = 0; round < 3; round += 1) {
      const { error } = await call('strict', 'missing');
      assert.equal(error?.data?.status, 404, JSON.stringify(error));
      assert.ok(await isCalled('strict'));
    }
    assert.equal((strict?.seen['tools/call'] ?? 0) - before, 6, 'each was sent once');
    assert.equal(strict?.seen.initialize, 1);
  });

  // case: SV8
  test('and one that answers no ping is never connected anew for it', async () => {
    const before = hub.descendants();
    await delay(8000);
    assert.deepEqual(hub.descendants(), before, 'no child was started anew');
    for (const name of Object.keys(PINGS)) {
      assert.equal(servers[`ping${name}`]?.seen.initialize, 1, name);
      assert.ok(await isCalled(`ping${name}`), name);
    }
  });

  // case: SV50
  test('and one that has other tools after a deploy, and no session that could be lost, is listed again', async () => {
    const { tools } = servers;
    assert.ok(tools);
    tools.tools = ['other'];
    assert.equal((await call('tools'))?.error?.code, -32602);
    const isListed = async () =>
      (await rpc(`${hub.url}/mcp`, 'tools/list', {}, { key: hub.key })).text.includes('"tools_other"');
    await until(isListed, HEALED_MS, 'the new tool');
  });

  // case: SV52
  test('and one that changes its era is met in the other', async () => {
    for (const turn of ['2026', '2025']) {
      servers.era?.changeEra();
      await until(() => isCalled('era'), HEALED_MS, `calls in the era of ${turn}`);
    }
  });
});
