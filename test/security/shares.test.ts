/**
 * SR-M2, SR-N3: one key fills each container that clients can fill, and another key still works; nothing of it stays
 * when it leaves. Shares are as large as the containers here, so that only the way in which a full container is shared
 * protects the other key.
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { HttpServer } from '../support/everything.ts';
import { type RunningHub, startHub, until } from '../support/hub.ts';
import { Journal } from '../support/journal.ts';
import { type RpcAnswer, rpc } from '../support/mcp.ts';
import { scaled } from '../support/measured.ts';
import { callText, makeKey, NEW_KEYS_ENV, type Reading, SseClient } from '../support/sse-client.ts';
import { stateless } from '../support/stateless.ts';

const ONE = 'note://one';
const SOON_MS = 10_000;
/** Sessions, ended sessions and resumable streams that the hub keeps. */
const KEPT = scaled({ ci: 100, long: 2000 });
/** More than any container below holds. */
const MANY = KEPT + 20;
const ENV = {
  ...NEW_KEYS_ENV,
  ...{ MCPHUB_SESSIONS: String(KEPT), MCPHUB_SESSIONS_PER_KEY: String(KEPT) },
  ...{ MCPHUB_TOMBSTONES: String(KEPT), MCPHUB_TOMBSTONES_PER_KEY: String(KEPT) },
  ...{ MCPHUB_PREFERENCES_BYTES: '131072', MCPHUB_PREFERENCES_BYTES_PER_KEY: '131072' },
  ...{ MCPHUB_RETAINED_STREAMS_PER_KEY: '100', MCPHUB_RESUMABLE_STREAMS_PER_KEY: '100', MCPHUB_STREAMS: '16' },
  ...{ MCPHUB_QUESTIONS: '4', MCPHUB_QUESTIONS_PER_KEY: '4', MCPHUB_LANES: '8', MCPHUB_LANES_PER_KEY: '8' },
  ...{ MCPHUB_PARKED: '4', MCPHUB_PARKED_PER_KEY: '4', MCPHUB_REPLAY_MS: '8000' },
};

let journal: Journal;
let remote: HttpServer;
let hub: RunningHub;
let greedy: string;
let other: string;
before(async () => {
  journal = new Journal();
  remote = await journal.startHttp();
  const { url } = remote;
  hub = await startHub({ config: { mcpServers: { notes: { url }, asks: { url, interactive: true } } }, env: ENV });
  [greedy, other] = [await makeKey(hub, 'greedy'), await makeKey(hub, 'other')];
  await until(async () => (await sizesOf('upstream.servers'))[0] === 2, SOON_MS, 'two servers');
  await until(async () => (await ask(other, 'resources/list')).text.includes(ONE), SOON_MS, 'the lists');
});
after(async () => {
  await hub[Symbol.asyncDispose]();
  await remote[Symbol.asyncDispose]();
  journal[Symbol.dispose]();
});

/** To one server alone, where any URI leads to it. */
function ask(key: string, method: string, params: object = {}, session?: string): Promise<RpcAnswer> {
  return rpc(`${hub.url}/mcp/notes`, method, params, { key, session });
}

async function open(key: string, capabilities: object = {}): Promise<string> {
  const params = { protocolVersion: '2025-11-25', capabilities, clientInfo: { name: 'test', version: '1' } };
  const { session, text } = await ask(key, 'initialize', params);
  assert.ok(session, text);
  return session;
}

async function end(key: string, session: string): Promise<void> {
  const headers = { authorization: `Bearer ${key}`, 'mcp-session-id': session };
  await (await fetch(`${hub.url}/mcp/notes`, { method: 'DELETE', headers })).arrayBuffer();
}

/** What the containers hold now. */
async function sizesOf(...names: readonly string[]): Promise<number[]> {
  const answer = await fetch(`${hub.url}/api/ceilings`, { headers: { authorization: `Bearer ${hub.key}` } });
  const { ceilings: rows } = (await answer.json()) as { ceilings: { name: string; size: number }[] };
  return names.map((name) => rows.filter((row) => row.name === name).reduce((sum, { size }) => sum + size, 0));
}

function settingOf({ json }: RpcAnswer): string | undefined {
  return json?.error?.data?.setting;
}

async function touch(): Promise<void> {
  const { status, text } = await ask(hub.key, 'tools/call', { name: 'notes_touch', arguments: { uri: ONE } });
  assert.equal(status, 200, text);
}

function hasUpdate({ events }: Reading): boolean {
  return events.some(({ data }) => data.includes(ONE));
}

/** A client of one session at the address of one server. */
async function clientOf(key: string, capabilities: object = {}): Promise<SseClient> {
  const client = new SseClient({ port: hub.port, key, sockets: 4 });
  const params = { protocolVersion: '2025-11-25', capabilities, clientInfo: { name: 'test', version: '1' } };
  const { session } = await rpc(`${hub.url}/mcp`, 'initialize', params, { key });
  client.session = session ?? '';
  return client;
}

// finding: SR-H2
test('refuses texts above their limits before anything is kept of them, and names the limit', async () => {
  const session = await open(greedy);
  for (const [method, params, setting] of [
    ['resources/subscribe', { uri: `x://${'x'.repeat(30_000)}` }, 'uriBytes'],
    ['resources/read', { uri: `x://${'x'.repeat(5000)}` }, 'uriBytes'],
    ['tools/call', { name: 'x'.repeat(5000) }, 'nameBytes'],
    ['tools/list', { cursor: 'x'.repeat(5000) }, 'cursorBytes'],
    ['logging/setLevel', { level: 'x'.repeat(5000) }, 'nameBytes'],
  ] as const) {
    const answer = await ask(greedy, method, params, session);
    assert.deepEqual([answer.json.error.code, settingOf(answer)], [-32602, setting], method);
  }
  assert.deepEqual(await sizesOf('session.notes', 'session.preferences-bytes'), [0, 0]);
  await end(greedy, session);
});

// finding: SR-M2
test('keeps the subscription of another key while one key opens sessions without end, and its level', async () => {
  const client = await clientOf(other);
  const subscribed = await rpc(
    `${hub.url}/mcp`,
    'resources/subscribe',
    { uri: ONE },
    { key: other, session: client.session },
  );
  assert.deepEqual(subscribed.json.result, {}, subscribed.text);
  const stream = await client.get().head();
  for (let n = 0; n < MANY; n += 1) await ask(greedy, 'logging/setLevel', { level: 'error' }, await open(greedy));
  assert.deepEqual(await sizesOf('session.notes'), [KEPT]);
  await touch();
  await until(() => hasUpdate(stream), SOON_MS, 'the update');
  client.close();
  await end(other, client.session);
});

// finding: SR-M2
test('keeps ended sessions of another key ended while one key ends sessions without end', async () => {
  const ended = await open(other);
  await end(other, ended);
  for (let n = 0; n < MANY; n += 1) await end(greedy, await open(greedy));
  assert.equal((await ask(other, 'ping', {}, ended)).status, 404);
});

// finding: SR-H2, SR-M2
test('lets another key subscribe when one key has used up its bytes, and gives them back when its sessions end', async () => {
  const [before] = await sizesOf('session.preferences-bytes');
  const sessions: string[] = [];
  let refused: string | undefined;
  while (refused === undefined && sessions.length < 20) {
    const session = await open(greedy);
    sessions.push(session);
    for (let n = 0; n < 12 && refused === undefined; n += 1)
      refused = settingOf(await ask(greedy, 'resources/subscribe', { uri: `x://${n}${'x'.repeat(2000)}` }, session));
  }
  assert.equal(refused, 'preferencesBytesPerKey');
  const session = await open(other);
  const { json, text } = await ask(other, 'resources/subscribe', { uri: `y://${'y'.repeat(2000)}` }, session);
  assert.deepEqual(json.result, {}, text);
  for (const one of sessions) await end(greedy, one);
  await end(other, session);
  assert.deepEqual(await sizesOf('session.preferences-bytes'), [before]);
});

// finding: SR-N3
test('leaves nothing behind of a refused subscriptions/listen', async () => {
  const before = await sizesOf('session.notes', 'session.preferences-bytes', 'downstream.streams');
  const url = `${hub.url}/mcp/notes`;
  for (const resourceSubscriptions of [[ONE, 5], [ONE, `x://${'x'.repeat(5000)}`], Array<string>(300).fill(ONE)])
    for (let n = 0; n < 40; n += 1) {
      const answer = await stateless(
        url,
        'subscriptions/listen',
        { notifications: { resourceSubscriptions } },
        { key: greedy },
      );
      assert.equal(answer.json.error.code, -32602, answer.text);
    }
  assert.deepEqual(await sizesOf('session.notes', 'session.preferences-bytes', 'downstream.streams'), before);
});

// finding: SR-M2
test('lets another key resume its stream while one key leaves streams without end', async () => {
  const client = await clientOf(other);
  const { session } = client;
  await rpc(`${hub.url}/mcp`, 'resources/subscribe', { uri: ONE }, { key: other, session });
  const stream = await client.get().head();
  await until(() => stream.lastId !== undefined, SOON_MS, 'an event id');
  stream.drop();
  await until(async () => (await sizesOf('session.parked'))[0] === 1, SOON_MS, 'the stream is retained');
  for (let n = 0; n < 40; n += 1) {
    const one = await clientOf(greedy);
    await one.get().head();
    one.close();
  }
  await touch();
  const again = client.get(stream.lastId);
  await until(() => hasUpdate(again), SOON_MS, 'the update that came meanwhile');
  client.close();
  await end(other, session);
  const names = ['session.parked', 'session.tracks', 'session.replay-bytes', 'session.streams'];
  await until(async () => (await sizesOf(...names)).every((size) => size === 0), 30_000, 'no stream is left');
});

// finding: SR-M2
test('asks the user of another key while one key leaves all its questions open, and closes its connections with its sessions', async () => {
  const asking = async (key: string): Promise<{ client: SseClient; reading: Reading }> => {
    const client = await clientOf(key, { elicitation: {} });
    return { client, reading: client.post(callText('asks_work', '{"name":"q","ms":0,"ask":true}', { id: '7' })) };
  };
  const greedyOnes = [];
  for (let n = 0; n < 8; n += 1) greedyOnes.push(await asking(greedy));
  await until(async () => ((await sizesOf('call.questions'))[0] ?? 0) >= 3, SOON_MS, 'questions of one key');
  const { client, reading } = await asking(other);
  await reading.hasMessages(1, SOON_MS);
  const question = JSON.parse(reading.messages.find((text) => text.includes('elicitation/create')) ?? '{}');
  const result = { action: 'accept', content: { who: 'me' } };
  await client.post(JSON.stringify({ jsonrpc: '2.0', id: question.id, result })).end();
  await until(() => reading.messages.some((text) => text.includes('accept')), SOON_MS, 'the result');
  for (const one of [...greedyOnes, { client, reading }]) {
    one.client.close();
    await one.client.delete().end();
  }
  const names = ['call.questions', 'upstream.lanes', 'call.in-flight', 'admission.calls'];
  await until(async () => (await sizesOf(...names)).every((size) => size === 0), SOON_MS, 'nothing is left of them');
});

// finding: SR-M2
test('suspends a call of another key while one key leaves its suspended calls waiting', async () => {
  const params = { name: 'asks_work', arguments: { name: 's', ms: 0, ask: true } };
  const call = (key: string, more: object = {}) =>
    stateless(`${hub.url}/mcp`, 'tools/call', { ...params, ...more }, { key });
  const left = await Promise.all(Array.from({ length: 6 }, () => call(greedy)));
  assert.ok(left.filter(({ text }) => text.includes('input_required')).length >= 2);
  const first = await call(other);
  const { requestState, inputRequests } = first.json.result;
  assert.ok(requestState, first.text);
  const [name = ''] = Object.keys(inputRequests);
  const answers = { [name]: { action: 'accept', content: { who: 'me' } } };
  const { text } = await call(other, { requestState, inputResponses: answers });
  assert.match(text, /accept/);
});
