// case: CL20, CL21
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import {
  batchChannel,
  bridgeChannel,
  type Channel,
  type ChannelAnswer,
  postChannel,
  sseChannel,
} from '../support/client-channels.ts';
import { type RunningHub, startHub } from '../support/hub.ts';
import { MODERN } from '../support/stateless.ts';

const REQUESTS = [
  ...['ping', 'tools/list', 'tools/call', 'prompts/list', 'prompts/get', 'resources/list', 'resources/templates/list'],
  ...['resources/read', 'resources/subscribe', 'resources/unsubscribe', 'completion/complete', 'logging/setLevel'],
  ...['server/discover', 'subscriptions/listen', 'offerings/list', 'capabilities', 'tasks/list', 'unknown/method'],
];
const NOTIFICATIONS = ['initialized', 'cancelled', 'progress', 'roots/list_changed', 'unknown'].map(
  (name) => `notifications/${name}`,
);
const EMPTY = ['null', '[]', '[ ]', '{}'];
const WRONG = ['[1]', '"x"', '7', 'false'];

let hub: RunningHub;
let serial = 0;

function message(method: string, params: string | undefined, hasId: boolean): { text: string; id: number } {
  serial += 1;
  const id = hasId ? `"id":${serial},` : '';
  const member = params === undefined ? '' : `,"params":${params}`;
  return { text: `{"jsonrpc":"2.0",${id}"method":"${method}"${member}}`, id: serial };
}

/** What an answer says apart from its id. */
function said({ status, json }: ChannelAnswer): unknown {
  const { id: _, error, ...others } = json ?? {};
  return error ? { status, code: error.code, message: error.message } : { status, ...others };
}

async function judgeRequests(channel: Channel, methods: readonly string[]): Promise<void> {
  for (const method of methods) {
    const send = async (params: string | undefined) => {
      const { text, id } = message(method, params, true);
      const answer = await channel.send(text);
      assert.equal(answer.json?.id, id, `${channel.name} ${text} → ${JSON.stringify(answer)}`);
      return answer;
    };
    const absent = said(await send(undefined));
    for (const params of EMPTY)
      assert.deepEqual(said(await send(params)), absent, `${channel.name}: ${method} with params ${params}`);
    for (const params of WRONG) {
      const { json } = await send(params);
      assert.equal(json.error?.code, -32602, `${channel.name}: ${method} with params ${params}`);
    }
  }
}

async function judgeNotifications(channel: Channel): Promise<void> {
  for (const method of NOTIFICATIONS)
    for (const params of [undefined, ...EMPTY, ...WRONG]) {
      const { status, json } = await channel.send(message(method, params, false).text);
      const isWrong = params !== undefined && WRONG.includes(params);
      const about = `${channel.name}: ${method} with params ${params} → ${status} ${JSON.stringify(json)}`;
      const isRefused = isWrong && (channel.name === 'POST' || channel.name === '/messages');
      if (channel.name !== 'bridge') assert.equal(status, isRefused ? 400 : 202, about);
      if (isRefused) assert.deepEqual([json.id, json.error.code], [null, -32602], about);
      else assert.equal(json, undefined, about);
    }
}

before(async () => {
  hub = await startHub({ config: { mcpServers: {} } });
});
after(async () => {
  await hub[Symbol.asyncDispose]();
});

describe('params that are null or an empty array count as absent, and others that are no object are refused', () => {
  test('by POST', async () => {
    await using channel = postChannel(hub);
    await judgeRequests(channel, [...REQUESTS, 'initialize']);
    await judgeNotifications(channel);
  });

  test('in a batch', async () => {
    await using channel = batchChannel(hub);
    await judgeRequests(channel, REQUESTS);
    await judgeNotifications(channel);
  });

  test('on the SSE endpoint', async () => {
    await using channel = await sseChannel(hub);
    await judgeRequests(channel, REQUESTS);
    await judgeNotifications(channel);
  });

  test('through the bridge', async () => {
    await using channel = bridgeChannel(hub);
    await judgeRequests(channel, [...REQUESTS, 'initialize']);
    await judgeNotifications(channel);
  });
});

test('a request of the stateless era with empty or wrong params gets an answer with its own id', async () => {
  for (const method of [...REQUESTS, 'initialize'])
    for (const params of [undefined, ...EMPTY, ...WRONG]) {
      const headers = { 'mcp-protocol-version': MODERN, 'mcp-method': method };
      const { text, id } = message(method, params, true);
      const { json } = await postChannel(hub, headers).send(text);
      assert.equal(json?.id, id, `${text} → ${JSON.stringify(json)}`);
      if (params !== undefined && WRONG.includes(params)) assert.equal(json.error?.code, -32602, text);
    }
});
