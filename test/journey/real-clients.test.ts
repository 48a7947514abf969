/**
 * The clients that people use, through the hub, against the real server-everything: SDK v1, SDK v2 in legacy mode,
 * mcp-remote as a stdio bridge, and the Inspector's command line.
 */
// covers: A2, B25
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { Client as ClientV2, StreamableHTTPClientTransport as HttpV2 } from '@modelcontextprotocol/client';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import type { Transport } from '@modelcontextprotocol/sdk/shared/transport.js';
import { type Ran, run } from '../support/cli.ts';
import { cleanEnv, ROOT, type RunningHub, startHub, until } from '../support/hub.ts';
import { rpc } from '../support/mcp.ts';
import { EVERYTHING } from '../support/real-servers.ts';

const TOOLS_AT_LEAST = 10;
// biome-ignore lint/suspicious/noTemplateCurlyInString: mcp-remote puts the variable in by itself
const BRIDGE_HEADER = 'Authorization:${AUTH}';

let hub: RunningHub;
let url: URL;
let headers: Record<string, string>;

before(async () => {
  hub = await startHub({ config: { mcpServers: { everything: EVERYTHING } } });
  url = new URL(`${hub.url}/mcp`);
  headers = { Authorization: `Bearer ${hub.key}` };
  await until(
    async () => (await rpc(url.href, 'tools/list', {}, { key: hub.key })).json.result.tools.length >= TOOLS_AT_LEAST,
    30_000,
    'the tools of everything',
  );
});
after(async () => {
  await hub[Symbol.asyncDispose]();
});

/** What both SDKs' clients have in common; the walk of a client is the same for both. */
interface AnyClient {
  listTools(): Promise<{ tools: { name: string }[] }>;
  listPrompts(): Promise<{ prompts: unknown[] }>;
  listResources(): Promise<{ resources: unknown[] }>;
  listResourceTemplates(): Promise<{ resourceTemplates: unknown[] }>;
  ping(): Promise<unknown>;
}

async function walkLists(client: AnyClient): Promise<void> {
  const { tools } = await client.listTools();
  assert.ok(tools.length >= TOOLS_AT_LEAST, `${tools.length} tools`);
  assert.ok(tools.some(({ name }) => name === 'everything_echo'));
  assert.ok(Array.isArray((await client.listPrompts()).prompts));
  assert.ok(Array.isArray((await client.listResources()).resources));
  assert.ok(Array.isArray((await client.listResourceTemplates()).resourceTemplates));
  assert.deepEqual(await client.ping(), {});
}

function textOf(result: unknown): string {
  const { content } = result as { content: { type: string; text: string }[] };
  return content.map(({ text }) => text).join('\n');
}

function assertProgress(seen: readonly { progress: number; total?: number | undefined }[]): void {
  assert.deepEqual(
    seen.map(({ progress }) => progress),
    [1, 2, 3, 4],
    'each step once and in order',
  );
  assert.ok(seen.every(({ total }) => total === 4));
}

const LONG = { name: 'everything_trigger_long_running_operation', arguments: { duration: 1, steps: 4 } };

describe('SDK v1', { timeout: 60_000 }, () => {
  let client: Client;
  let transport: StreamableHTTPClientTransport;
  before(async () => {
    client = new Client({ name: 'sdk-v1', version: '1.0.0' });
    transport = new StreamableHTTPClientTransport(url, { requestInit: { headers } });
    // The SDK's own types disagree under exactOptionalPropertyTypes.
    await client.connect(transport as unknown as Transport);
  });
  after(async () => {
    await client.close();
  });

  test('[A2] connects with a session and lists tools, prompts, resources and templates', async () => {
    assert.ok(transport.sessionId);
    assert.equal(client.getServerVersion()?.name, 'mcphub');
    await walkLists(client);
  });

  test('[A2] calls tools, and a tool’s own error stays a tool’s error', async () => {
    assert.equal(textOf(await client.callTool({ name: 'everything_echo', arguments: { message: 'v1' } })), 'Echo: v1');
    assert.match(textOf(await client.callTool({ name: 'everything_get_sum', arguments: { a: 2, b: 40 } })), /42/);
    const wrong = await client.callTool({ name: 'everything_get_sum', arguments: { a: 'two' } });
    assert.equal(wrong.isError, true);
    await assert.rejects(client.callTool({ name: 'everything_no_such_tool', arguments: {} }), /-32602|Unknown tool/);
  });

  test('[A2] structured content passes the client’s own check against the output schema', async () => {
    await client.listTools();
    const made = await client.callTool({
      name: 'everything_get_structured_content',
      arguments: { location: 'New York' },
    });
    assert.equal(typeof made.structuredContent, 'object');
    assert.ok(Object.keys(made.structuredContent ?? {}).length > 0);
  });

  test('[A2] progress of a long call comes in order and stops at the result', async () => {
    const seen: { progress: number; total?: number | undefined }[] = [];
    const result = await client.callTool(LONG, undefined, {
      onprogress: (progress) => seen.push(progress),
      timeout: 15_000,
    });
    const atResult = seen.length;
    assert.match(textOf(result), /completed/i);
    assertProgress(seen);
    await client.ping();
    assert.equal(seen.length, atResult);
  });

  test('[A2] a call that the client aborts ends upstream, and the next one is answered', async () => {
    const abort = new AbortController();
    const long = { ...LONG, arguments: { duration: 20, steps: 200 } };
    const call = client.callTool(long, undefined, { signal: abort.signal, onprogress: () => abort.abort('enough') });
    await assert.rejects(call);
    await until(async () => (await ceiling('call.in-flight')) === 0, 3000, 'no call in flight');
    assert.deepEqual(await client.ping(), {});
  });

  test('[A2] terminateSession ends the session: its id is 404 from then on', async () => {
    const own = new Client({ name: 'sdk-v1-end', version: '1.0.0' });
    const way = new StreamableHTTPClientTransport(url, { requestInit: { headers } });
    await own.connect(way as unknown as Transport);
    const session = way.sessionId ?? '';
    assert.equal((await rpc(url.href, 'ping', {}, { key: hub.key, session })).status, 200);
    await way.terminateSession();
    await own.close();
    assert.equal((await rpc(url.href, 'ping', {}, { key: hub.key, session })).status, 404);
  });

  test('[A2] a wrong key fails the connection at once and in words', async () => {
    const own = new Client({ name: 'sdk-v1-wrong', version: '1.0.0' });
    const wrong = { Authorization: `Bearer mcphub_${'0'.repeat(64)}` };
    const way = new StreamableHTTPClientTransport(url, { requestInit: { headers: wrong } });
    await assert.rejects(own.connect(way as unknown as Transport), /401|key/i);
    await own.close();
  });
});

describe('SDK v2 in legacy mode', { timeout: 60_000 }, () => {
  let client: ClientV2;
  let transport: HttpV2;
  before(async () => {
    client = new ClientV2({ name: 'sdk-v2', version: '1.0.0' });
    transport = new HttpV2(url, { requestInit: { headers } });
    await client.connect(transport);
  });
  after(async () => {
    await client.close();
  });

  test('[A2] connects, lists and calls', async () => {
    assert.ok(transport.sessionId);
    await walkLists(client);
    assert.equal(textOf(await client.callTool({ name: 'everything_echo', arguments: { message: 'v2' } })), 'Echo: v2');
    assert.match(textOf(await client.callTool({ name: 'everything_get_sum', arguments: { a: 1, b: 2 } })), /3/);
  });

  test('[A2] gets progress', async () => {
    const seen: { progress: number; total?: number | undefined }[] = [];
    await client.callTool(LONG, { onprogress: (progress) => seen.push(progress), timeout: 15_000 });
    assertProgress(seen);
  });
});

test('[A2] mcp-remote bridges a stdio client to the hub', { timeout: 60_000 }, async () => {
  const home = mkdtempSync(join(tmpdir(), 'mcphub-remote-'));
  const client = new Client({ name: 'behind-mcp-remote', version: '1.0.0' });
  const bridge = new StdioClientTransport({
    command: process.execPath,
    args: [join(ROOT, 'node_modules/.bin/mcp-remote'), url.href, '--header', BRIDGE_HEADER, '--transport', 'http-only'],
    env: { ...cleanEnv(), HOME: home, MCP_REMOTE_CONFIG_DIR: home, AUTH: headers.Authorization ?? '' },
    stderr: 'pipe',
  });
  try {
    await client.connect(bridge as unknown as Transport, { timeout: 30_000 });
    await walkLists(client);
    assert.equal(
      textOf(await client.callTool({ name: 'everything_echo', arguments: { message: 'bridge' } })),
      'Echo: bridge',
    );
  } finally {
    await client.close();
    rmSync(home, { recursive: true, force: true });
  }
});

describe('the Inspector’s command line', { timeout: 120_000 }, () => {
  async function inspect(...args: string[]): Promise<Ran> {
    const home = mkdtempSync(join(tmpdir(), 'mcphub-inspector-'));
    try {
      return await run(
        process.execPath,
        [
          join(ROOT, 'node_modules/.bin/mcp-inspector'),
          '--cli',
          url.href,
          '--transport',
          'http',
          '--header',
          `Authorization: ${headers.Authorization}`,
          ...args,
        ],
        { env: { HOME: home }, timeoutMs: 40_000 },
      );
    } finally {
      rmSync(home, { recursive: true, force: true });
    }
  }

  test('[A2] lists the tools', async () => {
    const ran = await inspect('--method', 'tools/list');
    assert.equal(ran.code, 0, ran.stderr + ran.stdout);
    const { tools } = JSON.parse(ran.stdout);
    assert.ok(tools.some(({ name }: { name: string }) => name === 'everything_echo'));
  });

  test('[A2] calls a tool', async () => {
    const call = ['--method', 'tools/call', '--tool-name', 'everything_echo', '--tool-arg', 'message=inspected'];
    const ran = await inspect(...call);
    assert.equal(ran.code, 0, ran.stderr + ran.stdout);
    assert.match(ran.stdout, /Echo: inspected/);
  });
});

test('[B25] ids and progress tokens of any kind come back unchanged', { timeout: 30_000 }, async () => {
  for (const id of [0, -7, 1.5, 'a "quoted" 키', '', 9_007_199_254_740_991]) {
    const meta = { _meta: { progressToken: id } };
    const body = {
      jsonrpc: '2.0',
      id,
      method: 'tools/call',
      params: { ...LONG, arguments: { duration: 0.2, steps: 2 }, ...meta },
    };
    const answer = await fetch(url, {
      method: 'POST',
      headers: { ...headers, 'content-type': 'application/json', accept: 'application/json, text/event-stream' },
      body: JSON.stringify(body),
    });
    const messages = (await answer.text())
      .split('\n')
      .filter((line) => line.startsWith('data:'))
      .map((line) => JSON.parse(line.slice(5)));
    const last = messages.at(-1);
    assert.equal(last.id, id);
    assert.ok(last.result);
    const progress = messages.slice(0, -1);
    assert.ok(progress.length >= 1, 'progress came before the result');
    for (const message of progress) assert.equal(message.params.progressToken, id);
  }
});

async function ceiling(name: string): Promise<number | undefined> {
  const answer = await fetch(`${hub.url}/api/ceilings`, { headers });
  const { ceilings } = (await answer.json()) as { ceilings: { name: string; size: number }[] };
  return ceilings.find((row) => row.name === name)?.size;
}
