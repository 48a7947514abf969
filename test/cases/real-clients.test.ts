/**
 * Official clients whose configuration doubles a protocol header, at the hub itself and behind nginx with a path prefix: each connects,
 * lists, calls, receives progress and cancels.
 */
// case: CL1, CL2, CL18, CL26
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { Client as ClientV2, StreamableHTTPClientTransport as HttpV2 } from '@modelcontextprotocol/client';
import { Client as ClientV1 } from '@modelcontextprotocol/sdk/client/index.js';
import { SSEClientTransport } from '@modelcontextprotocol/sdk/client/sse.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import { StreamableHTTPClientTransport as HttpV1 } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { run } from '../support/cli.ts';
import { cleanEnv, ROOT, type RunningHub, startHub, until } from '../support/hub.ts';
import { type Nginx, startNginx } from '../support/nginx.ts';
import { faultServer } from '../support/real-servers.ts';
import { MODERN } from '../support/stateless.ts';
import type { Loose } from '../support/users.ts';

const LATEST = '2025-11-25';
const VERSION = 'MCP-Protocol-Version';
/** What a proxy wants so that streams pass; the prefix is taken off. */
const STREAMING = 'proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off;';
// biome-ignore lint/suspicious/noTemplateCurlyInString: mcp-remote puts the variable in by itself
const REMOTE_KEY = 'Authorization:${AUTH}';

type Call = (name: string, args: object, options: Loose) => Promise<Loose>;

/** A connected client, seen as what all of them can do. */
interface Connected {
  listTools(): Promise<{ tools: { name: string }[] }>;
  call: Call;
  close(): Promise<void>;
}

/** The values of the version header that went out, by request. */
type Sent = (string | null)[];

/** Sends the header twice with every request that has it; SDK v1 does so by itself when it is configured as a fixed header. */
function doubling(sent: Sent): typeof fetch {
  return (input, init) => {
    const headers = new Headers(init?.headers);
    const value = headers.get(VERSION);
    if (value !== null && !value.includes(',')) headers.append(VERSION, value);
    sent.push(headers.get(VERSION));
    return fetch(input, { ...init, headers });
  };
}

async function joinV1(transport: Loose): Promise<Connected> {
  const client = new ClientV1({ name: 'doubled', version: '1' });
  await client.connect(transport, { timeout: 30_000 });
  return {
    listTools: () => client.listTools(),
    call: (name, args, options) => client.callTool({ name, arguments: { ...args } }, undefined, options),
    close: () => client.close(),
  };
}

async function joinV2(transport: HttpV2, options: Loose): Promise<Connected> {
  const client = new ClientV2({ name: 'doubled', version: '1' }, options);
  await client.connect(transport);
  return {
    listTools: () => client.listTools(),
    call: (name, args, options) => client.callTool({ name, arguments: { ...args } }, options),
    close: () => client.close(),
  };
}

describe('a client with a doubled version header', { timeout: 180_000 }, () => {
  let hub: RunningHub;
  let nginx: Nginx;
  before(async () => {
    hub = await startHub({ config: { mcpServers: { fault: faultServer('normal') } } });
    nginx = await startNginx(hub.port, STREAMING, '/tools/');
  });
  after(async () => {
    await nginx?.[Symbol.asyncDispose]();
    await hub?.[Symbol.asyncDispose]();
  });

  const withKey = (version: string) => ({ Authorization: `Bearer ${hub.key}`, [VERSION]: version });
  const places = (): Record<string, string> => ({
    'at the hub': hub.url,
    'behind nginx with a prefix': `http://127.0.0.1:${nginx.port}/tools`,
  });

  async function inFlight(): Promise<number | undefined> {
    const answer = await fetch(`${hub.url}/api/ceilings`, { headers: { Authorization: `Bearer ${hub.key}` } });
    const { ceilings } = (await answer.json()) as { ceilings: { name: string; size: number }[] };
    return ceilings.find(({ name }) => name === 'admission.calls')?.size;
  }

  async function use(client: Connected): Promise<void> {
    await until(
      async () => (await client.listTools()).tools.some(({ name }) => name === 'fault_echo'),
      20_000,
      'tools',
    );
    const echoed = await client.call('fault_echo', { text: 'twice' }, {});
    assert.equal(echoed.content[0].text, 'twice');
    const seen: number[] = [];
    const onprogress = ({ progress }: { progress: number }): void => {
      seen.push(progress);
    };
    await client.call('fault_report', { steps: 3, ms: 50, text: 'x' }, { onprogress, timeout: 15_000 });
    assert.deepEqual(seen, [1, 2, 3]);
    const abort = new AbortController();
    const slow = client.call('fault_sleep', { ms: 30_000 }, { signal: abort.signal, timeout: 40_000 });
    await until(async () => (await inFlight()) === 1, 5000, 'the slow call');
    abort.abort('enough');
    await assert.rejects(slow);
    await until(async () => (await inFlight()) === 0, 5000, 'the end of the cancelled call');
    assert.equal((await client.call('fault_echo', { text: 'after' }, {})).content[0].text, 'after');
  }

  type Join = (base: string, sent: Sent) => Promise<Connected>;
  const joins: Readonly<Record<string, Join>> = {
    'SDK v1': (base, sent) =>
      joinV1(
        new HttpV1(new URL(`${base}/mcp`), {
          requestInit: { headers: withKey(LATEST) },
          fetch: doubling(sent) as Loose,
        }),
      ),
    'SDK v1 on HTTP+SSE': (base, sent) =>
      joinV1(
        new SSEClientTransport(new URL(`${base}/sse`), {
          requestInit: { headers: withKey('2024-11-05') },
          fetch: doubling(sent) as Loose,
        }),
      ),
    'SDK v2': (base, sent) =>
      joinV2(
        new HttpV2(new URL(`${base}/mcp`), { requestInit: { headers: withKey(LATEST) }, fetch: doubling(sent) }),
        {},
      ),
    'SDK v2, automatic': (base, sent) =>
      joinV2(new HttpV2(new URL(`${base}/mcp`), { requestInit: { headers: withKey(MODERN) }, fetch: doubling(sent) }), {
        versionNegotiation: { mode: 'auto' },
      }),
    'SDK v2, pinned to 2026-07-28': (base, sent) =>
      joinV2(new HttpV2(new URL(`${base}/mcp`), { requestInit: { headers: withKey(MODERN) }, fetch: doubling(sent) }), {
        versionNegotiation: { mode: { pin: MODERN } },
      }),
  };

  for (const [name, join] of Object.entries(joins))
    for (const place of ['at the hub', 'behind nginx with a prefix'])
      test(`${name} ${place}: connects, lists, calls, receives progress, cancels`, async () => {
        const sent: Sent = [];
        const client = await join(places()[place] as string, sent);
        try {
          await use(client);
          assert.ok(
            sent.some((value) => value?.includes(',')),
            `no doubled header in ${JSON.stringify(sent)}`,
          );
        } finally {
          await client.close();
        }
      });

  for (const place of ['at the hub', 'behind nginx with a prefix']) {
    test(`mcp-remote ${place}: connects, lists, calls, receives progress, cancels`, async () => {
      const home = mkdtempSync(join(tmpdir(), 'mcphub-remote-'));
      const args = [`${places()[place]}/mcp`, '--header', REMOTE_KEY, '--header', `${VERSION}:${LATEST}`];
      const client = await joinV1(
        new StdioClientTransport({
          command: process.execPath,
          args: [join(ROOT, 'node_modules/.bin/mcp-remote'), ...args, '--transport', 'http-only'],
          env: { ...cleanEnv(), HOME: home, MCP_REMOTE_CONFIG_DIR: home, AUTH: `Bearer ${hub.key}` },
          stderr: 'ignore',
        }),
      );
      try {
        await use(client);
      } finally {
        await client.close();
        rmSync(home, { recursive: true, force: true });
      }
    });

    test(`the command line of the Inspector ${place}: lists and calls`, async () => {
      const home = mkdtempSync(join(tmpdir(), 'mcphub-inspector-'));
      const inspect = async (...args: string[]): Promise<string> => {
        const key = ['--header', `Authorization: Bearer ${hub.key}`, '--header', `${VERSION}: ${LATEST}`];
        const at = ['--cli', `${places()[place]}/mcp`, '--transport', 'http', ...key];
        const command = [join(ROOT, 'node_modules/.bin/mcp-inspector'), ...at, ...args];
        const ran = await run(process.execPath, command, { env: { HOME: home }, timeoutMs: 40_000 });
        assert.equal(ran.code, 0, ran.stderr + ran.stdout);
        return ran.stdout;
      };
      try {
        assert.match(await inspect('--method', 'tools/list'), /"fault_echo"/);
        const call = ['--method', 'tools/call', '--tool-name', 'fault_echo', '--tool-arg', 'text=inspected'];
        assert.match(await inspect(...call), /inspected/);
      } finally {
        rmSync(home, { recursive: true, force: true });
      }
    });
  }
});
