// covers: B24
/**
 * A server of the old HTTP+SSE transport behind a whole hub: by its type, and by an address that says nothing.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startHub, until } from '../support/hub.ts';
import { Client } from '../support/load.ts';
import { startSdkSse } from '../support/sdk-sse.ts';

test('servers of the old transport are listed, called and met again, and see nothing of the caller', async () => {
  const before = await startSdkSse();
  await using free = await startSdkSse();
  const config = {
    mcpServers: {
      old: { type: 'sse', url: before.url, headers: { 'x-own': 'yes' } },
      free: { url: `http://127.0.0.1:${free.port}/mcp` },
    },
  };
  await using hub = await startHub({ config, env: { MCPHUB_RESTART_BASE_MS: '200' } });
  const client = new Client(hub, 4);
  try {
    await client.open();
    const names = async () =>
      (JSON.parse((await client.list()).text) as { result: { tools: { name: string }[] } }).result.tools.map(
        ({ name }) => name,
      );
    await until(async () => (await names()).length === 8, 20_000, 'both are listed');
    for (const name of ['old_echo', 'free_echo'])
      assert.match((await client.call(name, { text: `to ${name}` })).text, new RegExp(`to ${name}`));
    await before.close();
    const failed = await client.call('old_echo', { text: 'x' });
    assert.match(failed.text, /"(?:isError|error)"/);
    await using after = await startSdkSse({ port: before.port, extraTool: true });
    await until(async () => (await names()).includes('old_extra'), 20_000, 'its new list');
    assert.match((await client.call('old_echo', { text: 'again' })).text, /again/);
    const requests = [...before.seen, ...after.seen, ...free.seen];
    assert.equal(
      requests.some(({ headers }) => JSON.stringify(headers).includes(hub.key)),
      false,
    );
    assert.equal(
      requests.some(({ headers }) => headers.authorization !== undefined),
      false,
    );
    assert.ok([...before.seen, ...after.seen].every(({ headers }) => headers['x-own'] === 'yes'));
  } finally {
    client.close();
    await before.close();
  }
});
