/**
 * SDK v1 whose configuration sets the version header as well, as some IDEs ship it, over both of its transports; at the
 * hub itself and behind nginx with a path prefix: it connects, lists, calls, receives progress and cancels.
 */
// case: CL1, CL18, CL26
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Client as ClientV1 } from '@modelcontextprotocol/sdk/client/index.js';
import { SSEClientTransport } from '@modelcontextprotocol/sdk/client/sse.js';
import { StreamableHTTPClientTransport as HttpV1 } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { type RunningHub, startHub, until } from '../support/hub.ts';
import { type Nginx, startNginx } from '../support/nginx.ts';
import { faultServer } from '../support/real-servers.ts';
import type { Loose } from '../support/users.ts';

const LATEST = '2025-11-25';
const VERSION = 'MCP-Protocol-Version';
/** What a proxy wants so that streams pass; the prefix is taken off. */
const STREAMING = 'proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off;';

type Call = (name: string, args: object, options: Loose) => Promise<Loose>;

/** A connected client, seen as what all of them can do. */
interface Connected {
  listTools(): Promise<{ tools: { name: string }[] }>;
  call: Call;
  close(): Promise<void>;
}

/** The values of the version header that went out, by request. */
type Sent = (string | null)[];

/**
 * Sends the header twice with every request that has it; SDK v1 does so by itself when it is configured as a fixed
 * header.
 */
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
});
