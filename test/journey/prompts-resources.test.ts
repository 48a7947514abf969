/**
 * Prompts, resources, templates and completions of real servers, through a whole hub, as SDK v1's client uses them; and
 * their lists after a restart, when the servers do not answer yet.
 */
// covers: A2, B13
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import type { Transport } from '@modelcontextprotocol/sdk/shared/transport.js';
import {
  PromptListChangedNotificationSchema,
  ResourceListChangedNotificationSchema,
  ToolListChangedNotificationSchema,
} from '@modelcontextprotocol/sdk/types.js';
import { type RunningHub, startHub, until } from '../support/hub.ts';
import { rpc } from '../support/mcp.ts';
import { EVERYTHING, FILESYSTEM, MEMORY } from '../support/real-servers.ts';

const SERVERS = { everything: EVERYTHING, filesystem: FILESYSTEM, memory: MEMORY };
/** Starts, and never says a word. */
const MUTE = { command: 'node', args: ['-e', 'setInterval(() => {}, 1000)'] };
const TEXT = 'demo://resource/dynamic/text/{resourceId}';
const BLOB = 'demo://resource/dynamic/blob/{resourceId}';

async function connect(hub: RunningHub, path = ''): Promise<Client> {
  const client = new Client({ name: 'sdk-v1', version: '1.0.0' });
  const headers = { Authorization: `Bearer ${hub.key}` };
  const transport = new StreamableHTTPClientTransport(new URL(`${hub.url}/mcp${path}`), { requestInit: { headers } });
  // The SDK's own types disagree under exactOptionalPropertyTypes.
  await client.connect(transport as unknown as Transport);
  return client;
}

async function ready(hub: RunningHub, servers: readonly string[]): Promise<void> {
  await until(
    async () => {
      const answer = await rpc(`${hub.url}/mcp`, 'prompts/list', {}, { key: hub.key });
      const standing = answer.json.result._meta['mcphub/servers'];
      return servers.every((server) => standing[server]?.state === 'ready');
    },
    45_000,
    `${servers} ready`,
  );
}

/** The first content, whatever kind it is. */
function firstOf({ contents: [content] }: Awaited<ReturnType<Client['readResource']>>) {
  assert.ok(content, 'there is a content');
  return content;
}

describe('a hub with real servers', { timeout: 120_000 }, () => {
  let hub: RunningHub;
  let client: Client;
  before(async () => {
    hub = await startHub({ config: { mcpServers: SERVERS } });
    await ready(hub, Object.keys(SERVERS));
    client = await connect(hub);
  });
  after(async () => {
    await client?.close();
    await hub?.[Symbol.asyncDispose]();
  });

  test('[A2] prompts are listed under exposed names, with their arguments', async () => {
    assert.deepEqual(client.getServerCapabilities()?.prompts, { listChanged: true });
    const { prompts } = await client.listPrompts();
    const byName = new Map(prompts.map((prompt) => [prompt.name, prompt]));
    for (const name of byName.keys()) assert.match(name, /^everything_[A-Za-z0-9_]{1,37}$/);
    const weather = byName.get('everything_args_prompt');
    assert.equal(weather?.title, 'Arguments Prompt');
    assert.deepEqual(
      weather?.arguments?.map(({ name, required }) => [name, required]),
      [
        ['city', true],
        ['state', false],
      ],
    );
  });

  test('[A2] a prompt is got with its arguments, by any spelling; an unknown one is −32602', async () => {
    const args = { city: '서울', state: 'KR' };
    const expected = "What's weather in 서울, KR?";
    for (const name of ['everything_args_prompt', 'everything.args-prompt', 'args-prompt']) {
      const { messages } = await client.getPrompt({ name, arguments: args });
      assert.deepEqual(messages[0]?.content, { type: 'text', text: expected }, name);
    }
    await assert.rejects(client.getPrompt({ name: 'everything_none' }), { code: -32602 });
    await assert.rejects(client.getPrompt({ name: 'everything_args_prompt', arguments: {} }), { code: -32602 });
  });

  test('[A2] resources and templates are listed under the servers’ own URIs', async () => {
    const { resources } = await client.listResources();
    assert.ok(resources.length > 0);
    for (const { uri, name } of resources) {
      assert.match(uri, /^(demo:\/\/resource\/|memory:\/\/)/);
      assert.ok(name);
    }
    const { resourceTemplates } = await client.listResourceTemplates();
    assert.deepEqual(resourceTemplates.map(({ uriTemplate }) => uriTemplate).sort(), [BLOB, TEXT]);
    const { json } = await rpc(`${hub.url}/mcp`, 'offerings/list', {}, { key: hub.key });
    const { tools, prompts, resources: hasResources } = json.result.offerings;
    assert.deepEqual([tools, prompts, hasResources], [true, true, true]);
  });

  test('[A2] a listed resource is read, and text and blob of a template', async () => {
    const [listed] = (await client.listResources()).resources;
    assert.ok(listed);
    const whole = firstOf(await client.readResource({ uri: listed.uri }));
    assert.equal(whole.uri, listed.uri);
    assert.ok('text' in whole && whole.text.length > 0);
    const text = firstOf(await client.readResource({ uri: TEXT.replace('{resourceId}', '7') }));
    assert.match('text' in text ? text.text : '', /^Resource 7: /);
    const blob = firstOf(await client.readResource({ uri: BLOB.replace('{resourceId}', '8') }));
    assert.match(Buffer.from('blob' in blob ? blob.blob : '', 'base64').toString(), /^Resource 8: /);
  });

  test('[A2] what the server refuses is its own error; a URI that nobody of a group has is −32002', async () => {
    const bad = rpc(`${hub.url}/mcp`, 'resources/read', { uri: TEXT.replace('{resourceId}', 'x') }, { key: hub.key });
    assert.match((await bad).json.error.message, /Unknown resource/);
    const nowhere = await rpc(`${hub.url}/mcp/filesystem`, 'resources/read', { uri: 'demo://x' }, { key: hub.key });
    assert.equal(nowhere.json.error.code, -32002);
    assert.deepEqual([nowhere.json.error.data.code, nowhere.json.error.data.uri], ['resource-not-found', 'demo://x']);
  });

  test('[A2] arguments of a prompt and of a template are completed, also by what was chosen before', async () => {
    const complete = async (name: string, value: string, department?: string): Promise<string[]> => {
      const context = department === undefined ? {} : { context: { arguments: { department } } };
      const ref = { type: 'ref/prompt', name: 'everything_completable_prompt' } as const;
      return (await client.complete({ ref, argument: { name, value }, ...context })).completion.values;
    };
    assert.deepEqual(await complete('department', 'S'), ['Sales', 'Support']);
    assert.deepEqual(await complete('name', '', 'Sales'), ['David', 'Eve', 'Frank']);
    const ref = { type: 'ref/resource', uri: TEXT } as const;
    const ids = await client.complete({ ref, argument: { name: 'resourceId', value: '12' } });
    assert.deepEqual(ids.completion.values, ['12']);
  });

  test('[A2] a second server with the same URIs is announced, and each server’s resource is read from it', async () => {
    const heard: string[] = [];
    const hear = (kind: string) => () => {
      heard.push(kind);
    };
    client.setNotificationHandler(PromptListChangedNotificationSchema, hear('prompts'));
    client.setNotificationHandler(ResourceListChangedNotificationSchema, hear('resources'));
    client.setNotificationHandler(ToolListChangedNotificationSchema, hear('tools'));
    writeFileSync(hub.configFile, JSON.stringify({ mcpServers: { ...SERVERS, again: EVERYTHING } }));
    process.kill(hub.pid, 'SIGHUP');
    await ready(hub, ['again']);
    await until(() => ['prompts', 'resources', 'tools'].every((kind) => heard.includes(kind)), 15_000, 'the notices');
    const uris = (await client.listResources()).resources.map(({ uri }) => uri);
    const renamed = uris.filter((uri) => uri.startsWith('mcphub://again/'));
    assert.deepEqual(
      renamed.map((uri) => decodeURIComponent(uri.slice('mcphub://again/'.length))),
      uris.filter((uri) => uri.startsWith('demo://')),
    );
    assert.equal(new Set(uris).size, uris.length);
    const [uri] = renamed;
    assert.ok(uri);
    const content = firstOf(await client.readResource({ uri }));
    assert.equal(content.uri, uri);
    const { resourceTemplates } = await client.listResourceTemplates();
    const template = resourceTemplates.find(({ uriTemplate }) => uriTemplate === `mcphub://again/${TEXT}`);
    assert.ok(template, JSON.stringify(resourceTemplates));
    const made = template.uriTemplate.replace('{resourceId}', '5');
    const read = firstOf(await client.readResource({ uri: made }));
    assert.equal(read.uri, made);
    assert.match('text' in read ? read.text : '', /^Resource 5: /);
    const argument = { name: 'resourceId', value: '3' };
    const ref = { type: 'ref/resource', uri: template.uriTemplate } as const;
    assert.deepEqual((await client.complete({ ref, argument })).completion.values, ['3']);
    const alone = await connect(hub, '/again');
    assert.ok((await alone.listResources()).resources.every((resource) => resource.uri.startsWith('demo://')));
    await alone.close();
  });
});

// row G3 · guards src/relay/snapshot-file.ts
test('[B13] after a restart the lists are there at once, from disk, though the server does not answer', {
  timeout: 120_000,
}, async () => {
  const dataDir = mkdtempSync(join(tmpdir(), 'mcphub-prompts-'));
  try {
    const lists = async (hub: RunningHub) => {
      const rows = async (method: string, member: string) =>
        (await rpc(`${hub.url}/mcp`, method, {}, { key: hub.key })).json.result[member];
      return {
        prompts: await rows('prompts/list', 'prompts'),
        resources: await rows('resources/list', 'resources'),
        templates: await rows('resources/templates/list', 'resourceTemplates'),
      };
    };
    let before: Awaited<ReturnType<typeof lists>>;
    let key: string;
    {
      await using hub = await startHub({ dataDir, config: { mcpServers: { everything: EVERYTHING } } });
      await ready(hub, ['everything']);
      before = await lists(hub);
      key = hub.key;
      assert.equal(await hub.stop(), 0);
    }
    assert.ok(before.prompts.length > 0 && before.resources.length > 0 && before.templates.length > 0);
    await using hub = await startHub({ dataDir, key, config: { mcpServers: { everything: MUTE } } });
    assert.deepEqual(await lists(hub), before);
  } finally {
    rmSync(dataDir, { recursive: true, force: true });
  }
});
