/**
 * What belongs to the caller stays with the hub: its key reaches no server, over HTTP or in the environment of a child.
 */
// covers: B24
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startFaultHttp } from '../support/fault-http.ts';
import { startHub, until } from '../support/hub.ts';
import { callTool, openSession, rpc } from '../support/mcp.ts';
import { faultServer } from '../support/real-servers.ts';

test('[B24] the caller’s Authorization, cookies and session never reach a server; the configured headers do', {
  timeout: 60_000,
}, async () => {
  const server = await startFaultHttp({});
  try {
    const remote = { type: 'streamable-http', url: server.url, headers: { Authorization: 'Bearer of-the-server' } };
    await using hub = await startHub({ config: { mcpServers: { remote, child: faultServer('normal') } } });
    const mcp = `${hub.url}/mcp`;
    await until(
      async () => {
        const listed = await rpc(mcp, 'tools/list', {}, { key: hub.key });
        const states = Object.values<{ state: string }>(listed.json.result._meta['mcphub/servers']);
        return states.every(({ state }) => state === 'ready');
      },
      30_000,
      'both ready',
    );
    const session = await openSession(mcp, hub.key);
    const headers = { cookie: 'a=secret-cookie', 'proxy-authorization': 'Basic c2VjcmV0', 'x-api-key': 'secret-api' };
    const options = { key: hub.key, session, headers };
    const answer = await callTool(mcp, 'remote_echo', { text: 'hello' }, options);
    assert.equal(answer.json.result.content[0].text, 'hello', answer.text);
    const received = JSON.stringify(server.seen.lastHeaders);
    assert.match(received, /Bearer of-the-server/);
    for (const secret of [hub.key, 'secret-cookie', 'c2VjcmV0', 'secret-api', session])
      assert.equal(received.includes(secret), false, secret);
    const env = await callTool(mcp, 'child_env', {}, options);
    assert.equal(env.text.includes(hub.key), false);
    assert.equal(/MCPHUB_BOOTSTRAP_KEY|NODE_COMPILE_CACHE/.test(env.text), false);
  } finally {
    await server.close();
  }
});
