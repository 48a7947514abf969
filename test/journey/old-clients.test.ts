/**
 * A client of 2024-11-05 (SDK v1's own SSE transport) at the hub: GET /sse and POST /messages, by group too, with the
 * right key only, and only while the settings have it; the key in the address only where the settings allow it.
 */
// covers: A2, B18
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { SSEClientTransport } from '@modelcontextprotocol/sdk/client/sse.js';
import type { JSONRPCMessage } from '@modelcontextprotocol/sdk/types.js';
import { type RunningHub, startHub, statusOf, until } from '../support/hub.ts';
import { Journal, makeKey, startReadyHub } from '../support/journal.ts';
import { post, rpc } from '../support/mcp.ts';
import { EVERYTHING, faultServer } from '../support/real-servers.ts';
import { joinV1, type Loose, textOf } from '../support/users.ts';

const SOON_MS = 15_000;

/** Says the date that such a client knows. */
class OldTransport extends SSEClientTransport {
  override send(message: JSONRPCMessage): Promise<void> {
    if (!('method' in message) || message.method !== 'initialize') return super.send(message);
    return super.send({ ...message, params: { ...message.params, protocolVersion: '2024-11-05' } });
  }
}

async function join(hub: RunningHub, path = '/sse', key: string | undefined = hub.key) {
  const headers: Record<string, string> = key === '' ? {} : { Authorization: `Bearer ${key}` };
  const transport = new OldTransport(new URL(`${hub.url}${path}`), { requestInit: { headers } });
  const joined = await joinV1(transport);
  // What came, before the SDK has a look at it: it forgets progress that comes in one piece with the result.
  const came: Loose[] = [];
  const handle = transport.onmessage;
  transport.onmessage = (message) => {
    came.push(message);
    handle?.(message);
  };
  return { ...joined, came, [Symbol.asyncDispose]: () => joined.client.close() };
}

/** The stream's address for posts, from a GET that the test ends by `close`. */
async function openRaw(hub: RunningHub, path: string, key: string) {
  const abort = new AbortController();
  const answer = await fetch(`${hub.url}${path}`, {
    headers: { authorization: `Bearer ${key}` },
    signal: abort.signal,
  });
  assert.equal(answer.status, 200);
  const reader = (answer.body as ReadableStream<Uint8Array>).getReader();
  let text = '';
  while (!text.includes('\n\n')) text += Buffer.from((await reader.read()).value ?? []).toString('utf8');
  const endpoint = /event: endpoint\ndata: (\S+)/.exec(text)?.[1];
  return { endpoint: endpoint ?? '', type: answer.headers.get('content-type'), close: () => abort.abort() };
}

describe('a client of 2024-11-05', { timeout: 120_000 }, () => {
  const journal = new Journal();
  let hub: RunningHub;
  before(async () => {
    const mcpServers = {
      everything: { ...EVERYTHING, interactive: true },
      journal: journal.stdio(),
      fault: faultServer('normal'),
    };
    hub = await startReadyHub({ mcpServers, groups: { few: { servers: ['fault'] } } });
  });
  after(async () => {
    await hub?.[Symbol.asyncDispose]();
    journal[Symbol.dispose]();
  });

  test('[A2] lists, calls, hears progress and log lines, and is asked', async () => {
    await using user = await join(hub);
    const { can, mind } = user;
    assert.equal(user.client.getServerVersion()?.name, 'mcphub');
    const { tools } = await can.listTools();
    assert.ok(tools.some(({ name }: { name: string }) => name === 'everything_echo'));
    assert.ok((await can.listPrompts()).prompts.length >= 4);
    assert.ok((await can.listResources()).resources.length >= 7);
    assert.equal(textOf(await can.call('everything_echo', { message: '오래된' })), 'Echo: 오래된');
    user.came.length = 0;
    const long = { duration: 0.4, steps: 4 };
    await can.call('everything_trigger_long_running_operation', long, { onprogress: () => {} });
    // The server asks for the roots too, at about this time.
    const steps = user.came.flatMap(({ params, result }) => params?.progress ?? result?.content[0].type ?? []);
    assert.deepEqual(steps, [1, 2, 3, 4, 'text']);
    mind.elicit = () => ({ action: 'accept', content: { name: 'Old Client' } });
    assert.match(textOf(await can.call('everything_trigger_elicitation_request')), /- Name: Old Client/);
    mind.sample = () => ({ role: 'assistant', content: { type: 'text', text: 'sampled' }, model: 'old' });
    assert.match(textOf(await can.call('everything_trigger_sampling_request', { prompt: 'x' })), /sampled/);
    await can.subscribeResource({ uri: 'demo://resource/dynamic/text/1' });
    await until(() => mind.logs.length > 0, SOON_MS, 'the line about the subscription');
    await can.call('everything_toggle_subscriber_updates');
    await until(() => mind.updates.length > 0, SOON_MS, 'the update');
    assert.equal(mind.updates[0], 'demo://resource/dynamic/text/1');
  });

  test('[B18] hears that a list has changed', async () => {
    await using user = await join(hub);
    await user.can.call('journal_grow', { name: 'more' });
    await until(() => user.mind.changes.includes('tools'), SOON_MS, 'the changed list');
  });

  test('at a group it sees that group only', async () => {
    await using user = await join(hub, '/sse/few');
    const { tools } = await user.can.listTools();
    assert.ok(tools.length > 0 && tools.every(({ name }: { name: string }) => name.startsWith('fault_')));
    assert.equal(textOf(await user.can.call('fault_echo', { text: 'few' })), 'few');
    assert.equal(await statusOf(`${hub.url}/sse/none`, { authorization: `Bearer ${hub.key}` }), 404);
  });

  test('a cancel of its own reaches the server', async () => {
    await using user = await join(hub);
    const abort = new AbortController();
    const options = { signal: abort.signal, onprogress: () => abort.abort('enough') };
    await assert.rejects(user.can.call('journal_work', { name: 'cancelled', ms: 60_000 }, options));
    await until(() => journal.state('cancelled') === 'called off', SOON_MS, 'the work has stopped');
  });

  test('when its stream ends, so do its calls, and nothing of it is left', async () => {
    const user = await join(hub);
    const call = user.can.call('journal_work', { name: 'left alone', ms: 60_000 }).catch(() => 'ended');
    await until(() => journal.state('left alone') === 'began', SOON_MS, 'the work has begun');
    await user.client.close();
    assert.equal(await call, 'ended');
    await until(() => journal.state('left alone') === 'called off', SOON_MS, 'the work has stopped');
    for (const name of ['downstream.old-sse', 'call.in-flight', 'session.streams'])
      await until(async () => (await ceiling(name)) === 0, SOON_MS, `nothing in ${name}`);
  });

  test('a wrong key and none are 401', async () => {
    const wrong = `mcphub_${'0'.repeat(64)}`;
    await assert.rejects(join(hub, '/sse', wrong), /401/);
    assert.equal(await statusOf(`${hub.url}/sse`), 401);
    assert.equal((await post(`${hub.url}/messages?sessionId=x`, {}, { key: wrong })).status, 401);
    // Only the header counts unless the settings say otherwise.
    assert.equal(await statusOf(`${hub.url}/sse?key=${hub.key}`), 401);
  });

  test('only the key that opened a stream may post to it', async () => {
    const other = await makeKey(hub, 'other');
    const raw = await openRaw(hub, '/sse', hub.key);
    try {
      assert.match(raw.type ?? '', /^text\/event-stream/);
      assert.match(raw.endpoint, /^messages\?sessionId=/);
      const ping = { jsonrpc: '2.0', id: 1, method: 'ping' };
      const to = new URL(raw.endpoint, `${hub.url}/sse`).href;
      assert.equal((await post(to, ping, { key: hub.key })).status, 202);
      assert.equal((await post(to, ping, { key: other })).status, 404);
      assert.equal((await post(`${hub.url}/messages?sessionId=0-none`, ping, { key: hub.key })).status, 404);
      assert.equal((await post(`${hub.url}/sse`, ping, { key: hub.key })).status, 405);
    } finally {
      raw.close();
    }
  });

  async function ceiling(name: string): Promise<number> {
    const answer = await fetch(`${hub.url}/api/ceilings`, { headers: { Authorization: `Bearer ${hub.key}` } });
    const { ceilings } = (await answer.json()) as { ceilings: { name: string; size: number }[] };
    return ceilings.filter((row) => row.name === name).reduce((sum, { size }) => sum + size, 0);
  }
});

test('legacySse: false makes both paths 404; keyInQuery: true takes the key from the address', {
  timeout: 60_000,
}, async () => {
  const mcpServers = { fault: faultServer('normal') };
  await using hub = await startHub({ config: { mcpServers, settings: { legacySse: false, keyInQuery: true } } });
  const headers = { authorization: `Bearer ${hub.key}` };
  assert.equal(await statusOf(`${hub.url}/sse`, headers), 404);
  assert.equal(await statusOf(`${hub.url}/sse/fault`, headers), 404);
  assert.equal((await post(`${hub.url}/messages?sessionId=x`, {}, { key: hub.key })).status, 404);
  assert.equal((await rpc(`${hub.url}/mcp?key=${hub.key}`, 'ping', {})).status, 200);
  assert.equal((await rpc(`${hub.url}/mcp?key=mcphub_${'0'.repeat(64)}`, 'ping', {})).status, 401);
  // The header wins where both are there.
  const wrong = { key: `mcphub_${'0'.repeat(64)}` };
  assert.equal((await rpc(`${hub.url}/mcp?key=${hub.key}`, 'ping', {}, wrong)).status, 401);
  assert.equal(hub.log.includes(hub.key), false, 'no key in the log');
});

test('with keyInQuery an old client needs no header, for its stream and its posts', { timeout: 60_000 }, async () => {
  const mcpServers = { fault: faultServer('normal') };
  await using hub = await startReadyHub({ mcpServers, settings: { keyInQuery: true } });
  await using user = await join(hub, `/sse?key=${hub.key}`, '');
  assert.equal(textOf(await user.can.call('fault_echo', { text: 'by address' })), 'by address');
  assert.equal(await statusOf(`${hub.url}/sse?key=mcphub_${'0'.repeat(64)}`), 401);
  // The header wins where both are there.
  await assert.rejects(join(hub, `/sse?key=${hub.key}`, 'mcphub_none'), /401/);
  const raw = await openRaw(hub, '/sse?key=something', hub.key);
  raw.close();
  assert.equal(raw.endpoint.includes('key='), false, 'only a key that counts is given on');
  assert.equal(hub.log.includes(hub.key), false, 'no key in the log');
});
