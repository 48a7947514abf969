/**
 * The official SDKs’ clients behind a connection that is cut in mid-call: they come back by themselves, and the call's
 * promise settles with the result, or says that the call was lost; after that they are quiet.
 */
// runs: about 40 s
// covers: E5, A2, B10
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Client as ClientV2, StreamableHTTPClientTransport as HttpV2 } from '@modelcontextprotocol/client';
import { Client as ClientV1 } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport as HttpV1 } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import type { Transport } from '@modelcontextprotocol/sdk/shared/transport.js';
import { type CuttingProxy, startCuttingProxy } from '../support/cutting-proxy.ts';
import { delay, type RunningHub, startHub, tryKill, until } from '../support/hub.ts';
import { askHub, stdioServer } from '../support/load.ts';
import { rpc } from '../support/mcp.ts';

/** The SDKs wait a second before they come back, and a second and a half when that failed. */
const STEP_MS = 400;
/** Long enough for a client that comes back for ever to be seen: each turn takes it a second. */
const QUIET_MS = 6000;
const TIMEOUT_MS = 60_000;

interface AnyClient {
  call(name: string, args: object, progress: (step: number) => void): Promise<string>;
  close(): Promise<void>;
}

function textOf(result: unknown): string {
  return (result as { content: { text: string }[] }).content[0]?.text ?? '';
}

async function connectV1(url: URL, key: string): Promise<AnyClient> {
  const client = new ClientV1({ name: 'sdk-v1', version: '1' });
  const transport = new HttpV1(url, { requestInit: { headers: { Authorization: `Bearer ${key}` } } });
  // The SDK's own types disagree under exactOptionalPropertyTypes.
  await client.connect(transport as unknown as Transport);
  return {
    call: async (name, args, progress) =>
      textOf(
        await client.callTool({ name, arguments: { ...args } }, undefined, {
          onprogress: (said) => progress(said.progress),
          timeout: TIMEOUT_MS,
        }),
      ),
    close: () => client.close(),
  };
}

async function connectV2(url: URL, key: string): Promise<AnyClient> {
  const client = new ClientV2({ name: 'sdk-v2', version: '1' });
  await client.connect(new HttpV2(url, { requestInit: { headers: { Authorization: `Bearer ${key}` } } }));
  return {
    call: async (name, args, progress) =>
      textOf(
        await client.callTool(
          { name, arguments: { ...args } },
          { onprogress: (said) => progress(said.progress), timeout: TIMEOUT_MS },
        ),
      ),
    close: () => client.close(),
  };
}

interface Scene {
  readonly hub: RunningHub;
  readonly proxy: CuttingProxy;
  readonly client: AnyClient;
}

function gets({ heads }: CuttingProxy): number {
  return heads.filter((head) => head.startsWith('GET ')).length;
}

for (const [sdk, connect] of [
  ['v1', connectV1],
  ['v2', connectV2],
] as const) {
  describe(`SDK ${sdk}`, { timeout: 180_000, concurrency: 2 }, () => {
    async function play(scene: (scene: Scene) => Promise<void>): Promise<void> {
      await using hub = await startHub({ config: { mcpServers: { child: stdioServer() } } });
      await until(
        async () => (await rpc(`${hub.url}/mcp`, 'tools/list', {}, { key: hub.key })).text.includes('child_report'),
        30_000,
        'the server',
      );
      await using proxy = await startCuttingProxy(hub.port);
      const client = await connect(new URL(`http://127.0.0.1:${proxy.port}/mcp`), hub.key);
      try {
        await scene({ hub, proxy, client });
      } finally {
        await client.close();
      }
    }

    /** The standing one and a call's; and what they began with has reached the client. */
    async function streamsOpen(hub: RunningHub, count: number): Promise<void> {
      const open = async (): Promise<number | undefined> => {
        const { ceilings } = (await askHub(hub, '/api/ceilings')) as { ceilings: { name: string; size: number }[] };
        return ceilings.find(({ name }) => name === 'downstream.streams')?.size;
      };
      await until(async () => (await open()) === count, 20_000, `${count} streams`);
      await delay(300);
    }

    /** A few more may be on their way; for ever would be one or two each second. */
    async function isQuiet(proxy: CuttingProxy): Promise<void> {
      await delay(QUIET_MS / 2);
      const before = gets(proxy);
      await delay(QUIET_MS);
      assert.ok(
        gets(proxy) - before <= 1,
        `${gets(proxy) - before} GETs in ${QUIET_MS} ms:\n${proxy.heads.slice(-4).join('\n')}`,
      );
    }

    test('a cut in mid-call: the promise resolves, with each progress once', () =>
      play(async ({ proxy, client }) => {
        const args = { steps: 10, ms: STEP_MS, text: 'x' };
        const seen: number[] = [];
        const text = await client.call('child_report', args, (step) => {
          seen.push(step);
          if (step === 2) assert.ok(proxy.cut() > 0);
        });
        assert.ok(text.startsWith(JSON.stringify(args)), text);
        assert.deepEqual(seen, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
      }));

    test('two cuts with nothing said between them', () =>
      play(async ({ hub, proxy, client }) => {
        const call = client.call('child_sleep', { ms: 4800 }, () => {});
        await streamsOpen(hub, 2);
        const before = gets(proxy);
        proxy.cut();
        await until(() => gets(proxy) >= before + 2, 20_000, 'both streams are asked for again');
        await streamsOpen(hub, 2);
        proxy.cut();
        assert.equal(await call, 'slept 4800');
      }));

    test('a slow call that ends with an error: the client hears it and does not come back for ever', () =>
      play(async ({ proxy, client }) => {
        const call = client.call('child_report', { steps: 3, ms: 600, fails: true }, () => {});
        await assert.rejects(call, /failed as asked/);
        await isQuiet(proxy);
      }));

    test('the hub is killed in mid-call: the client hears that the call is lost, and is quiet then', () =>
      play(async ({ hub, proxy, client }) => {
        const call = client.call('child_report', { steps: 40, ms: STEP_MS, text: 'x' }, (step) => {
          if (step === 2) for (const pid of hub.processes().hub ?? []) tryKill(pid);
        });
        await assert.rejects(call, /lost/);
        await isQuiet(proxy);
        assert.equal(await client.call('child_echo', { text: 'after' }, () => {}), 'after');
      }));
  });
}
