/**
 * Starts under bad stars: every server is gone, a hundred are configured and dead.
 * Does not: try starts with a bad configuration or a second hub (the journeys of bad input, the supervisor's own
 * tests).
 */
// runs: in pairs, about 15 s
// covers: P15
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { startFaultHttp } from '../support/fault-http.ts';
import { type RunningHub, startHub, statusOf, until } from '../support/hub.ts';
import { Client, slowness, stdioServer } from '../support/load.ts';
import { measured } from '../support/measured.ts';

interface Listed {
  readonly names: string[];
  readonly servers: Record<string, { state: string; stale?: true; tools: number }>;
}

async function listed(hub: RunningHub): Promise<Listed> {
  const client = new Client(hub);
  const { status, text } = await client.list();
  client.close();
  assert.equal(status, 200, text);
  const { result } = JSON.parse(text);
  const names = result.tools.map(({ name }: { name: string }) => name).sort();
  return { names, servers: result._meta['mcphub/servers'] };
}

/** A start, and what it took until it was ready and until its first list was there. */
async function fromStart(options: Parameters<typeof startHub>[0]) {
  const bornMs = performance.now();
  const hub = await startHub({ ...options, noWait: true });
  try {
    await until(async () => (await statusOf(`${hub.url}/readyz`)) === 200, 60_000, 'ready');
    const readyMs = performance.now() - bornMs;
    const list = await listed(hub);
    return { hub, readyMs, listedMs: performance.now() - bornMs, list };
  } catch (fault) {
    await hub[Symbol.asyncDispose]();
    throw fault;
  }
}

/** Takes connections and says nothing. */
function silentPort(port: number): Promise<Server> {
  const server = createServer((socket) => socket.on('error', () => {}));
  return new Promise((done, fail) => {
    server.once('error', fail);
    server.listen(port, '127.0.0.1', () => done(server));
  });
}

// row G3 · guards src/call/lists.ts
test('a restart while a hundred servers are gone: the list is whole at once, from disk, and says that it is old', {
  timeout: 120_000,
}, async () => {
  const dataDir = mkdtempSync(join(tmpdir(), 'mcphub-restart-'));
  let silent: Server | undefined;
  try {
    const remotes = await Promise.all([startFaultHttp(), startFaultHttp()]);
    const alive = Object.fromEntries(
      Array.from({ length: 96 }, (_, at) => [`r${at}`, { url: `${remotes[at % 2]?.url}?server=${at}` }]),
    );
    const config = (mode: string) => ({
      mcpServers: { ...alive, ...Object.fromEntries([0, 1, 2, 3].map((at) => [`child${at}`, stdioServer(mode)])) },
    });
    let key = '';
    let before: string[] = [];
    {
      await using hub = await startHub({ dataDir, config: config('normal') });
      key = hub.key;
      await until(
        async () => {
          const { names, servers } = await listed(hub);
          before = names;
          // A server is ready a few turns before its tools are in the list.
          return Object.entries(servers).every(
            ([server, { state }]) => state === 'ready' && names.some((name) => name.startsWith(`${server}_`)),
          );
        },
        60_000,
        'the tools of all servers',
      );
      assert.equal(await hub.stop(), 0);
    }
    assert.ok(before.length >= 400, `${before.length} tools`);
    await Promise.all(remotes.map((remote) => remote.close()));
    // Half of them refuse, half take the connection and say nothing; the children read and never answer.
    silent = await silentPort(remotes[1].port);
    const slowBefore = await slowness();
    const { hub, listedMs, list } = await fromStart({ dataDir, key, config: config('silent') });
    await using _ = hub;
    const slow = Math.max(slowBefore, await slowness());
    assert.deepEqual(list.names, before);
    for (const [name, { state, stale }] of Object.entries(list.servers))
      assert.ok(state !== 'ready' && stale === true, `${name} is ${state}`);
    const what = 'ready and a full list after a restart, 100 servers dead';
    measured({ promise: 'P15', what, value: listedMs, unit: 'ms', strict: 2000, ci: 4020 * slow });
    const bornMs = performance.now();
    assert.equal(await hub.stop(), 0);
    assert.ok(performance.now() - bornMs < 30_000);
    assert.deepEqual(hub.descendants(), []);
  } finally {
    silent?.close();
    rmSync(dataDir, { recursive: true, force: true });
  }
});

test('a first start with a hundred dead servers: ready at once, and the list waits for nobody longer than first-catalog', {
  timeout: 120_000,
}, async () => {
  const silent = await silentPort(0);
  try {
    const { port } = silent.address() as { port: number };
    const servers = Object.fromEntries(
      Array.from({ length: 100 }, (_, at) => [`dead${at}`, { url: `http://127.0.0.1:${at % 2 ? 1 : port}/mcp/${at}` }]),
    );
    const slowBefore = await slowness();
    const { hub, readyMs, listedMs, list } = await fromStart({ config: { mcpServers: servers } });
    await using _ = hub;
    const slow = Math.max(slowBefore, await slowness());
    assert.equal(Object.keys(list.servers).length, 100, 'each is told of');
    measured({ promise: 'P15', what: 'ready, 100 dead', value: readyMs, unit: 'ms', strict: 2000, ci: 4020 * slow });
    assert.ok(listedMs - readyMs < 3000 + 1000 * slow, `listed after ${Math.round(listedMs)} ms`);
  } finally {
    silent.close();
  }
});
