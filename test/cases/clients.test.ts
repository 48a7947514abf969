/**
 * The clients that people use, through an nginx that serves the hub below a path and doubles MCP-Protocol-Version:
 * connect, list, call, progress, cancel.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { Client as ClientV2, StreamableHTTPClientTransport as HttpV2 } from '@modelcontextprotocol/client';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import { StreamableHTTPClientTransport as HttpV1 } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { run } from '../support/cli.ts';
import { cleanEnv, ROOT, type RunningHub, until } from '../support/hub.ts';
import { Journal, startReadyHub } from '../support/journal.ts';
import { type Nginx, startNginx } from '../support/nginx.ts';
import { faultServer } from '../support/real-servers.ts';
import { type Loose, textOf } from '../support/users.ts';

const DOUBLED = 'proxy_set_header MCP-Protocol-Version "$http_mcp_protocol_version, $http_mcp_protocol_version";';
const journal = new Journal();
let hub: RunningHub;
let nginx: Nginx;
let url: URL;
before(async () => {
  hub = await startReadyHub({ mcpServers: { fault: faultServer('normal'), journal: journal.stdio() } });
  nginx = await startNginx(hub.port, `proxy_buffering off; ${DOUBLED}`, '/tools/');
  url = new URL(`http://127.0.0.1:${nginx.port}/tools/mcp`);
});
after(async () => {
  await nginx?.[Symbol.asyncDispose]();
  await hub?.[Symbol.asyncDispose]();
  journal[Symbol.dispose]();
});

/** `call` takes a tool's name, its arguments and the options of the client. */
async function walk(name: string, client: Loose, call: (tool: string, args: object, options: Loose) => Promise<Loose>) {
  const { tools } = await client.listTools();
  assert.ok(tools.some((tool: Loose) => tool.name === 'fault_echo'));
  assert.equal(textOf(await call('fault_echo', { text: name }, {})), name);
  const steps: number[] = [];
  const onprogress = ({ progress }: Loose) => void steps.push(progress);
  await call('fault_report', { text: 'x', steps: 4, ms: 20 }, { onprogress });
  // The SDK drops progress that it reads in one piece with the result, so that the last one may be missing.
  assert.deepEqual(steps.slice(0, 3), [1, 2, 3]);
  const abort = new AbortController();
  const work = call('journal_work', { name, ms: 60_000 }, { signal: abort.signal });
  work.catch(() => {});
  await until(() => journal.state(name) === 'began', 30_000, 'the work has begun');
  abort.abort('enough');
  await assert.rejects(work);
  await until(() => journal.state(name) === 'called off', 30_000, 'the work has stopped');
}

// case: CL1, CL18
test('serves SDK v1 behind a prefix and a doubled MCP-Protocol-Version', async () => {
  const client = new Client({ name: 'v1', version: '1' });
  const requestInit = { headers: { Authorization: `Bearer ${hub.key}` } };
  await client.connect(new HttpV1(url, { requestInit }) as Loose);
  await walk('v1', client, (tool, args, options) =>
    client.callTool({ name: tool, arguments: { ...args } }, undefined, options),
  );
  await client.close();
});

// case: CL1, CL2, CL18
test('serves SDK v2 in each mode behind a prefix and a doubled MCP-Protocol-Version', async () => {
  for (const [name, mode] of Object.entries({ auto: 'auto', legacy: 'legacy', pinned: { pin: '2026-07-28' } })) {
    const client = new ClientV2({ name, version: '1' }, { versionNegotiation: { mode } } as Loose);
    const requestInit = { headers: { Authorization: `Bearer ${hub.key}` } };
    await client.connect(new HttpV2(url, { requestInit }));
    await walk(name, client, (tool, args, options) => client.callTool({ name: tool, arguments: { ...args } }, options));
    await client.close();
  }
});

// case: CL1, CL18
test('serves mcp-remote behind a prefix and a doubled MCP-Protocol-Version', async () => {
  const home = mkdtempSync(join(tmpdir(), 'mcphub-remote-'));
  const client = new Client({ name: 'behind-mcp-remote', version: '1' });
  // biome-ignore lint/suspicious/noTemplateCurlyInString: mcp-remote puts the variable in by itself
  const own = ['--header', 'Authorization:${AUTH}', '--transport', 'http-only'];
  const bridge = new StdioClientTransport({
    command: process.execPath,
    args: [join(ROOT, 'node_modules/.bin/mcp-remote'), url.href, ...own],
    env: { ...cleanEnv(), HOME: home, MCP_REMOTE_CONFIG_DIR: home, AUTH: `Bearer ${hub.key}` },
    stderr: 'pipe',
  });
  try {
    await client.connect(bridge as Loose, { timeout: 30_000 });
    await walk('remote', client, (tool, args, options) =>
      client.callTool({ name: tool, arguments: { ...args } }, undefined, options),
    );
  } finally {
    await client.close();
    rmSync(home, { recursive: true, force: true });
  }
});

// case: CL1, CL18
test('serves the Inspector behind a prefix and a doubled MCP-Protocol-Version', async () => {
  const home = mkdtempSync(join(tmpdir(), 'mcphub-inspector-'));
  const to = [url.href, '--transport', 'http', '--header', `Authorization: Bearer ${hub.key}`];
  const call = ['--method', 'tools/call', '--tool-name', 'fault_echo', '--tool-arg', 'text=inspected'];
  try {
    const args = [join(ROOT, 'node_modules/.bin/mcp-inspector'), '--cli', ...to, ...call];
    const ran = await run(process.execPath, args, { env: { HOME: home }, timeoutMs: 40_000 });
    assert.equal(ran.code, 0, ran.stderr + ran.stdout);
    assert.match(ran.stdout, /inspected/);
  } finally {
    rmSync(home, { recursive: true, force: true });
  }
});

// case: CL1
test('serves SDK v2 whose settings set MCP-Protocol-Version as well', async () => {
  for (const version of ['2025-11-25', '2026-07-28'])
    for (const mode of ['auto', 'legacy']) {
      const client = new ClientV2({ name: 'fixed', version: '1' }, { versionNegotiation: { mode } } as Loose);
      const headers = { Authorization: `Bearer ${hub.key}`, 'MCP-Protocol-Version': version };
      await client.connect(new HttpV2(new URL(`${hub.url}/mcp`), { requestInit: { headers } }));
      const echo = await client.callTool({ name: 'fault_echo', arguments: { text: mode } });
      assert.equal(textOf(echo), mode, `${version} ${mode}`);
      await client.close();
    }
});
