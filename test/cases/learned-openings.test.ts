/**
 * What the hub has learned of how a server wants to be initialized, over reconnects and restarts, and until the server
 * changes.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { mcphub } from '../support/cli.ts';
import { dateServer, offeredDates } from '../support/date-server.ts';
import { delay, type RunningHub, startHub, tryKill, until } from '../support/hub.ts';
import { callTool } from '../support/mcp.ts';
import { startWireServer, type WireRequest, type WireServer } from '../support/wire-server.ts';

const READY_MS = 20_000;
const NEWEST = '2025-11-25';

describe('a server that wants another opening than the usual one', { timeout: 170_000 }, () => {
  let hub: RunningHub;
  let refuser: WireServer;
  let headed: WireServer;
  const dir = mkdtempSync(join(tmpdir(), 'mcphub-dates-'));
  const told = join(dir, 'told');
  const mute = join(dir, 'mute');
  /** Date and header of each initialize. */
  const offers = { refuser: [] as string[], headed: [] as string[] };
  let known = '2025-03-26';
  let wantsHeader = true;

  const seen = ({ request, message }: WireRequest): string =>
    `${message.params?.protocolVersion}${request.headers['mcp-protocol-version'] ? '+header' : ''}`;
  before(async () => {
    refuser = await startWireServer({
      on: (at) => {
        if (at.message.method !== 'initialize') return false;
        offers.refuser.push(seen(at));
        if (at.message.params?.protocolVersion === known) return false;
        const error = { code: -32602, message: 'Unsupported protocol version' };
        at.response.writeHead(200, { 'content-type': 'application/json' });
        at.response.end(JSON.stringify({ jsonrpc: '2.0', id: at.message.id, error }));
        return true;
      },
    });
    headed = await startWireServer({
      on: (at) => {
        if (at.message.method !== 'initialize') return false;
        offers.headed.push(seen(at));
        if ((at.request.headers['mcp-protocol-version'] !== undefined) === wantsHeader) return false;
        at.response.writeHead(400, { 'content-type': 'text/plain' }).end('Bad Request: MCP-Protocol-Version header');
        return true;
      },
    });
    hub = await startHub({ config: config() });
    for (const name of ['refuser', 'headed', 'told', 'mute']) await until(() => isCalled(name), READY_MS, name);
  });
  after(async () => {
    await hub?.[Symbol.asyncDispose]();
    for (const server of [refuser, headed]) await server?.[Symbol.asyncDispose]();
    rmSync(dir, { recursive: true, force: true });
  });
  const config = (): object => ({
    mcpServers: {
      refuser: { type: 'streamable-http', url: refuser.url },
      headed: { type: 'streamable-http', url: headed.url },
      told: dateServer(told, 'protocol version not supported: I speak 2024-11-05', '2024-11-05'),
      mute: dateServer(mute, 'Traceback (most recent call last)', '2025-06-18', '2025-03-26'),
    },
  });
  const isCalled = async (name: string): Promise<boolean> =>
    (await callTool(`${hub.url}/mcp`, `${name}_echo`, {}, { key: hub.key })).json?.result !== undefined;
  const restart = async (name: string): Promise<void> => {
    await mcphub(['servers', 'restart', name, '--data-dir', hub.dataDir]);
    await until(() => isCalled(name), READY_MS, `${name} after its restart`);
  };
  /** Everything that was learned is with control and on disk. */
  const kept = () => delay(1500);

  // case: SV7
  test('is used: with a date that it knows, after its process has exited at another, and with the header', async () => {
    assert.deepEqual(offers.refuser, [NEWEST, '2025-06-18', '2025-03-26']);
    assert.deepEqual(offeredDates(told), [NEWEST, '2024-11-05']);
    assert.deepEqual(offeredDates(mute), [NEWEST, '2025-06-18']);
    assert.deepEqual(offers.headed, [NEWEST, '2025-06-18', '2025-03-26', '2024-11-05', `${NEWEST}+header`]);
    const { stdout } = await mcphub(['servers', 'list', '--json', '--data-dir', hub.dataDir]);
    const row = JSON.parse(stdout).servers.find(({ slug }: { slug: string }) => slug === 'headed');
    assert.deepEqual(row.hubs[0].notes, ['requires the header MCP-Protocol-Version with initialize']);
  });

  // case: SV7
  test('is initialized as it was learned when it is connected again', async () => {
    for (const name of ['refuser', 'headed', 'told', 'mute']) await restart(name);
    assert.deepEqual(offers.refuser.slice(3), ['2025-03-26']);
    assert.deepEqual(offers.headed.slice(5), [`${NEWEST}+header`]);
    assert.deepEqual(offeredDates(told).slice(2), ['2024-11-05']);
    // Its exit may have had another reason: the newest date is tried once more.
    assert.deepEqual(offeredDates(mute).slice(2), [NEWEST, '2025-06-18']);
    await restart('mute');
    assert.deepEqual(offeredDates(mute).slice(4), ['2025-06-18']);
  });

  // case: SV7
  test('is initialized as it was learned after the hub was killed', async () => {
    await kept();
    for (const pid of [hub.pid, ...Object.values(hub.processes()).flat()]) tryKill(pid);
    await hub.exited;
    const { dataDir, key } = hub;
    const counts = [offers.refuser.length, offers.headed.length, offeredDates(told).length, offeredDates(mute).length];
    hub = await startHub({ config: config(), dataDir, key });
    for (const name of ['refuser', 'headed', 'told', 'mute']) await until(() => isCalled(name), READY_MS, name);
    assert.deepEqual(offers.refuser.slice(counts[0]), ['2025-03-26']);
    assert.deepEqual(offers.headed.slice(counts[1]), [`${NEWEST}+header`]);
    assert.deepEqual(offeredDates(told).slice(counts[2]), ['2024-11-05']);
    assert.deepEqual(offeredDates(mute).slice(counts[3]), ['2025-06-18']);
  });

  // case: SV7
  test('is met in the usual way again when it has changed', async () => {
    known = NEWEST;
    wantsHeader = false;
    for (const name of ['refuser', 'headed']) await restart(name);
    assert.deepEqual(offers.refuser.slice(-2), ['2025-03-26', NEWEST]);
    assert.deepEqual(offers.headed.slice(-2), [`${NEWEST}+header`, NEWEST]);
    for (const name of ['refuser', 'headed']) await restart(name);
    assert.deepEqual([offers.refuser.at(-2), offers.refuser.at(-1)], [NEWEST, NEWEST]);
    assert.deepEqual([offers.headed.at(-2), offers.headed.at(-1)], [NEWEST, NEWEST]);
  });
});
