/** Servers that refuse a protocol date which they do not know, instead of naming their own. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { mcphub } from '../support/cli.ts';
import { type RunningHub, startHub, until } from '../support/hub.ts';
import { callTool } from '../support/mcp.ts';
import { startWireServer, type WireRequest, type WireServer } from '../support/wire-server.ts';

/** How `initialize` with another date than this one is refused. */
interface Refuser {
  readonly date: string;
  readonly refuse: (at: WireRequest) => void;
  readonly type?: string;
}

const error =
  (status: number, code: number, data?: object) =>
  ({ response, message }: WireRequest): void => {
    const text = { jsonrpc: '2.0', id: message.id, error: { code, message: 'Unsupported protocol version', data } };
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(text));
  };
const page =
  (status: number) =>
  ({ response }: WireRequest): void => {
    response.writeHead(status, { 'content-type': 'text/plain' }).end('Unsupported protocol version');
  };

const SERVERS: Readonly<Record<string, Refuser>> = {
  expected: { date: '2025-03-26', refuse: error(200, -32602, { expected: '2025-03-26' }) },
  supported: { date: '2024-11-05', refuse: error(200, -32602, { supported: ['2024-11-05'], requested: 'x' }) },
  unnamed: { date: '2024-11-05', refuse: error(200, -32602) },
  answered400: { date: '2025-06-18', refuse: error(400, -32000) },
  text400: { date: '2025-06-18', refuse: page(400), type: 'streamable-http' },
  untyped400: { date: '2025-06-18', refuse: page(400) },
  broken500: { date: '2025-06-18', refuse: page(500) },
};

describe('a server that refuses a protocol date', { timeout: 60_000 }, () => {
  let hub: RunningHub;
  const servers = new Map<string, WireServer>();
  const offered = new Map<string, string[]>();
  const add = async (name: string, { date, refuse }: Refuser): Promise<void> => {
    const dates: string[] = [];
    offered.set(name, dates);
    const on = (at: WireRequest): boolean => {
      if (at.message.method === 'server/discover') dates.push('discover');
      if (at.message.method !== 'initialize') return false;
      const asked = at.message.params?.protocolVersion ?? '';
      dates.push(asked);
      if (asked !== date) refuse(at);
      return asked !== date;
    };
    servers.set(name, await startWireServer({ on }));
  };
  before(async () => {
    for (const [name, refuser] of Object.entries(SERVERS)) await add(name, refuser);
    let asked = 0;
    await add('locked', {
      date: 'none',
      refuse: (at) => {
        asked += 1;
        (asked === 1 ? error(200, -32602) : page(401))(at);
      },
    });
    await add('never', { date: 'none', refuse: error(200, -32602, { supported: ['2019-01-01', '1.0'] }) });
    const mcpServers = Object.fromEntries(
      [...servers].map(([name, { url }]) => [name, { url, ...(SERVERS[name]?.type && { type: SERVERS[name].type }) }]),
    );
    hub = await startHub({ config: { mcpServers } });
  });
  after(async () => {
    await hub?.[Symbol.asyncDispose]();
    for (const server of servers.values()) await server[Symbol.asyncDispose]();
  });

  // case: SV7
  test('is offered the one that it names, or older ones, and works', async () => {
    for (const name of Object.keys(SERVERS))
      await until(
        async () => (await callTool(`${hub.url}/mcp`, `${name}_echo`, {}, { key: hub.key })).json?.result !== undefined,
        15_000,
        name,
      );
    assert.deepEqual(offered.get('expected'), ['2025-11-25', '2025-03-26']);
    assert.deepEqual(offered.get('supported'), ['2025-11-25', '2024-11-05']);
    assert.deepEqual(offered.get('unnamed'), ['2025-11-25', '2025-06-18', '2025-03-26', '2024-11-05']);
    for (const name of ['answered400', 'text400', 'broken500'])
      assert.deepEqual(offered.get(name), ['2025-11-25', '2025-06-18'], name);
    assert.equal(offered.get('untyped400')?.at(-1), '2025-06-18');
    const { stdout } = await mcphub(['servers', 'list', '--json', '--data-dir', hub.dataDir]);
    const row = JSON.parse(stdout).servers.find(({ slug }: { slug: string }) => slug === 'expected');
    assert.deepEqual(row.hubs[0].notes, ['refuses protocol 2025-11-25; 2025-03-26 is spoken']);
  });

  // case: SV7
  test('is asked at most four times in a handshake, and no more after 401', () => {
    assert.deepEqual(offered.get('locked')?.slice(0, 2), ['2025-11-25', '2025-06-18']);
    assert.notEqual(offered.get('locked')?.[2], '2025-03-26');
    const first = offered.get('never')?.slice(0, 5);
    assert.deepEqual(first, ['2025-11-25', '2025-06-18', '2025-03-26', '2024-11-05', 'discover']);
  });
});
