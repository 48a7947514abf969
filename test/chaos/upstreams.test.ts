/**
 * Servers of a whole hub that freeze, vanish, burn the CPU or send too much; and what people at the other servers
 * notice of it.
 */
// runs: alone
// covers: P1, P2, P11, P15
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { readdirSync } from 'node:fs';
import { connect, createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { WORKER_FLAGS } from '../../src/model/supervisor-messages.ts';
import { startFarPlace } from '../support/far-place.ts';
import { startFaultHttp } from '../support/fault-http.ts';
import { type FaultProxy, startFaultProxy } from '../support/fault-proxy.ts';
import { delay, freePort, ROOT, type RunningHub, startHub, tryKill, until } from '../support/hub.ts';
import { askHub, Client, isResult, median, stdioServer } from '../support/load.ts';
import { measured, scaled } from '../support/measured.ts';
import { isUnharmed } from '../support/unharmed.ts';

const SILENCE_MS = 5000;

async function serves(hub: RunningHub, tool: string): Promise<void> {
  const client = new Client(hub);
  await until(async () => isResult(await client.call(tool, { text: 'up' })), 60_000, tool);
  client.close();
}

/** ms of `count` calls, one after the other. */
async function timesOf(count: number, work: () => Promise<{ ms: number }>): Promise<number[]> {
  const took: number[] = [];
  for (let at = 0; at < count; at += 1) took.push((await work()).ms);
  return took;
}

function p99(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length * 0.99)] ?? Number.NaN;
}

/** Bytes of the answer to a call, counted and thrown away: a test that keeps megabytes stalls itself. */
function bytesOfCall(hub: RunningHub, tool: string): Promise<number> {
  const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: tool, arguments: {} } });
  const socket = connect(hub.port, '127.0.0.1');
  let bytes = 0;
  socket.on('data', (chunk) => {
    bytes += chunk.length;
  });
  socket.on('error', () => {});
  socket.write(
    `POST /mcp HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\nauthorization: Bearer ${hub.key}\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
  );
  return new Promise((done) => socket.on('close', () => done(bytes)));
}

/** A port that takes connections and says nothing. */
async function silentPort(): Promise<{ port: number; server: Server }> {
  const server = createServer((socket) => socket.on('error', () => {}));
  const port = await freePort();
  await new Promise<void>((done) => server.listen(port, '127.0.0.1', done));
  return { port, server };
}

/** A name server that takes questions and answers none. */
async function deafNameserver(): Promise<{ address: string; close: () => void }> {
  const address = '127.77.0.53';
  const socket = createSocket('udp4');
  await new Promise<void>((done, fail) => {
    socket.once('error', fail);
    socket.bind(53, address, done);
  });
  return { address, close: () => socket.close() };
}

/**
 * Ten servers, hung in five ways: packets that go nowhere, bytes that drip, children that stand still, a handshake of
 * TLS that is never answered, a name that is never resolved. Eight of them are well until `hang`.
 */
class HungServers implements AsyncDisposable {
  readonly config: Record<string, object>;
  readonly nameserver: string;
  readonly #proxies: readonly FaultProxy[];
  readonly #ends: (() => unknown)[];
  #stopped: readonly number[] = [];

  private constructor(parts: {
    proxies: readonly FaultProxy[];
    silent: number;
    nameserver: string;
    ends: (() => unknown)[];
  }) {
    this.#proxies = parts.proxies;
    this.#ends = parts.ends;
    this.nameserver = parts.nameserver;
    const remote = ({ port }: FaultProxy) => ({ type: 'http', url: `http://127.0.0.1:${port}/mcp`, totalMs: 6000 });
    const all = [
      ...parts.proxies.map(remote),
      ...[stdioServer(), stdioServer()],
      { type: 'http', url: `https://127.0.0.1:${parts.silent}/mcp` },
      { type: 'http', url: 'http://nobody.example/mcp' },
    ];
    this.config = Object.fromEntries(all.map((server, at) => [`hung${at}`, server]));
  }

  static async start(behind: number): Promise<HungServers> {
    const proxies = await Promise.all(Array.from({ length: 6 }, (_, at) => startFaultProxy(behind, {}, at)));
    const silent = await silentPort();
    const nameserver = await deafNameserver();
    const ends = [
      ...proxies.map((proxy) => () => proxy[Symbol.asyncDispose]()),
      () => silent.server.close(),
      nameserver.close,
    ];
    return new HungServers({ proxies, silent: silent.port, nameserver: nameserver.address, ends });
  }

  async hang(hub: RunningHub): Promise<void> {
    const client = new Client(hub);
    const pids: number[] = [];
    for (const name of ['hung6', 'hung7']) {
      await serves(hub, `${name}_echo`);
      pids.push(Number(JSON.parse((await client.call(`${name}_pid`)).text).result.content[0].text));
    }
    client.close();
    for (const pid of pids) tryKill(pid, 'SIGSTOP');
    this.#stopped = pids;
    this.#proxies.forEach((proxy, at) => {
      proxy.toxics = at < 4 ? { blackhole: true } : { bytesPerSecond: 20 };
    });
  }

  /** Who is hung is asked again and again; afterwards there is nobody of that kind. */
  heal(): void {
    for (const pid of this.#stopped) tryKill(pid, 'SIGCONT');
    for (const proxy of this.#proxies) proxy.toxics = {};
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#ends.map((end) => end()));
  }
}

describe('servers of one hub', { timeout: 400_000 }, () => {
  // row A1 · guards src/catalog/catalog.ts, src/upstream/pipeline.ts
  test('ten of fifty are hung and called: lists are whole and quick, and calls to the others are what they were', async () => {
    const web = await startFaultHttp({});
    const good = Object.fromEntries(
      Array.from({ length: 40 }, (_, at) => [`good${at}`, { type: 'http', url: web.url }]),
    );
    try {
      await using hung = await HungServers.start(web.port);
      const { nameserver } = hung;
      await using hub = await startHub({ config: { mcpServers: { ...good, ...hung.config } }, nameserver });
      const client = new Client(hub);
      const tools = async (): Promise<string> => JSON.stringify(JSON.parse((await client.list()).text).result.tools);
      await until(async () => JSON.parse(await tools()).length >= 48 * 5, 60_000, 'the lists of forty-eight');
      await hung.hang(hub);
      const whole = await tools();
      const angry = Array.from({ length: 10 }, () => new Client(hub));
      let isOver = false;
      const told = new Set<string>();
      const [quiet, loud] = [
        { calls: [] as number[], lists: [] as number[] },
        { calls: [] as number[], lists: [] as number[] },
      ];
      for (let round = 0; round < scaled({ ci: 3, long: 20 }); round += 1) {
        const into = round % 2 === 0 ? quiet : loud;
        isOver = false;
        const callers =
          round % 2 === 0
            ? []
            : angry.map(async (one, at) => {
                while (!isOver) {
                  const { text, fault } = await one.call(`hung${at}_echo`, { text: 'x' }, 20_000);
                  assert.match(text, /"error"/, `hung${at}: ${fault}`);
                  for (const [, code] of text.matchAll(/"((?:upstream|breaker|server)-[a-z]+)"/g)) told.add(`${code}`);
                  await delay(100);
                }
              });
        if (round % 2 === 1) await delay(300);
        into.calls.push(
          ...(await timesOf(250, async () => {
            const answer = await client.call(`good${round}_echo`, { text: 'x' });
            assert.ok(isResult(answer), answer.text);
            return answer;
          })),
        );
        into.lists.push(...(await timesOf(scaled({ ci: 50, long: 400 }), () => client.list())));
        isOver = true;
        await Promise.all(callers);
      }
      assert.ok(told.has('upstream-silent'), `the hung say ${[...told]}`);
      assert.equal(await tools(), whole, 'the list is the same');
      measured({
        promise: 'P2',
        what: 'p99 of calls to healthy servers with ten hung and called, above without',
        value: p99(loud.calls) - p99(quiet.calls),
        unit: 'ms',
        strict: 5,
        ci: p99(quiet.calls) + 20,
      });
      measured({
        promise: 'P1',
        what: 'p99 of tools/list with ten hung and called, above without',
        value: p99(loud.lists) - p99(quiet.lists),
        unit: 'ms',
        strict: 2,
        ci: p99(quiet.lists) + 20,
      });
      client.close();
      for (const one of angry) one.close();
      hung.heal();
      await isUnharmed(hub, 'good0_echo');
    } finally {
      await web.close();
    }
  });

  // row A6 · guards src/upstream/connection/pending-request.ts
  test('a server whose cable is cut in a call: the call ends at the silence limit, and its socket is gone', async () => {
    const [server, port] = [join(ROOT, 'test/support/fault-http.ts'), 20_061];
    const far = await startFarPlace(61, [server, JSON.stringify({ host: '0.0.0.0', port })]);
    try {
      const url = `http://${far.far}:${port}/mcp`;
      await using hub = await startHub({ config: { mcpServers: { far: { type: 'http', url }, one: stdioServer() } } });
      await serves(hub, 'far_echo');
      const [pid = 0] = hub.processes().hub ?? [];
      const client = new Client(hub);
      const running = client.call('far_sleep', { ms: 60_000 }, 30_000);
      await delay(500);
      far.cut();
      const answer = await running;
      assert.match(answer.text, /"server":"far"/);
      assert.match(answer.text, /"outcome":"unknown"/);
      measured({
        promise: 'P3',
        what: 'a call whose server vanished ends after',
        value: answer.ms,
        unit: 'ms',
        strict: SILENCE_MS + 1000,
        ci: 2 * SILENCE_MS + 1020,
      });
      const sockets = (): number => readdirSync(`/proc/${pid}/fd`).length;
      const most = sockets();
      await delay(3000);
      assert.ok(sockets() <= most, 'descriptors do not grow');
      client.close();
      await isUnharmed(hub, 'one_echo');
    } finally {
      far.close();
    }
  });

  // row A5 · guards src/downstream/exchange.ts, src/upstream/connection/pending-request.ts
  test('a client that stops reading while its server stops in the middle of a body: both ends are released', async () => {
    const web = await startFaultHttp({ hugeBytes: 20 * 2 ** 20, stallAfterBytes: 4 * 2 ** 20 });
    try {
      await using hub = await startHub({
        config: { mcpServers: { web: { type: 'http', url: web.url, totalMs: 6000 }, one: stdioServer() } },
      });
      await serves(hub, 'one_echo');
      const other = new Client(hub);
      await until(
        async () =>
          JSON.parse((await other.list()).text).result.tools.some((tool: { name: string }) => tool.name === 'web_echo'),
        30_000,
        'web',
      );
      const socket = connect(hub.port, '127.0.0.1');
      socket.on('error', () => {});
      socket.pause();
      const body = JSON.stringify({
        jsonrpc: '2.0',
        id: 1,
        method: 'tools/call',
        params: { name: 'web_echo', arguments: {} },
      });
      socket.write(
        `POST /mcp HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer ${hub.key}\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
      );
      await until(() => web.seen.byMethod['tools/call'] === 1, 10_000, 'the call');
      await until(
        async () =>
          (await askHub(hub, '/api/waits')).waits.every(({ label }: { label: string }) => label !== 'upstream-call'),
        15_000,
        'the end of the call',
      );
      socket.destroy();
      other.close();
      await isUnharmed(hub, 'one_echo');
    } finally {
      await web.close();
    }
  });

  // row F11 · guards src/downstream/exchange.ts
  test('a result of 20 MB goes through, and others do not notice', async () => {
    await using hub = await startHub({
      config: { mcpServers: { big: stdioServer('bigline', String(15 * 2 ** 20)), one: stdioServer() } },
    });
    await serves(hub, 'one_echo');
    await serves(hub, 'big_echo');
    const other = new Client(hub);
    const took: number[] = [];
    for (let round = 0; round < 3; round += 1) {
      const big = bytesOfCall(hub, 'big_echo');
      let isOver = false;
      void big.finally(() => {
        isOver = true;
      });
      while (!isOver) took.push((await other.call('one_echo', { text: 'x' })).ms);
      assert.ok((await big) > 15 * 2 ** 20);
    }
    measured({
      promise: 'P11',
      what: 'slowest call of others while 15 MB results pass',
      value: Math.max(...took),
      unit: 'ms',
      strict: 100,
      ci: 220,
    });
    other.close();
    await isUnharmed(hub, 'one_echo');
  });

  // row B20 · guards src/subprocess/spawn/child.ts
  test('children that burn every core: calls to the others stay quick', async () => {
    const busy = Object.fromEntries(Array.from({ length: 4 }, (_, at) => [`busy${at}`, stdioServer('busy', '5000')]));
    await using hub = await startHub({ config: { mcpServers: { ...busy, one: stdioServer() } } });
    await serves(hub, 'one_echo');
    const client = new Client(hub);
    const quiet = await timesOf(300, () => client.call('one_echo', { text: 'x' }));
    await until(async () => JSON.parse((await client.list()).text).result.tools.length >= 4, 30_000, 'the busy ones');
    const callers = Array.from({ length: 4 }, () => new Client(hub));
    const burners = callers.map((caller, at) => caller.call(`busy${at}_echo`, { text: 'x' }, 40_000));
    await delay(500);
    const loud = await timesOf(300, () => client.call('one_echo', { text: 'x' }));
    measured({
      promise: 'P2',
      what: 'median call while four children burn every core, above without',
      value: median(loud) - median(quiet),
      unit: 'ms',
      strict: 10,
      ci: median(quiet) + 20,
    });
    for (const answer of await Promise.all(burners)) assert.ok(isResult(answer), 'who works is left at work');
    for (const one of [client, ...callers]) one.close();
    await isUnharmed(hub, 'one_echo');
  });
});

// row F2 · guards src/model/supervisor-messages.ts
test('a regular expression that backtracks for ever takes milliseconds in a hub', () => {
  const evil = 'console.log(/^(a+)+$/.test("a".repeat(40) + "!"))';
  const bornMs = performance.now();
  const { stdout } = spawnSync(process.execPath, [...WORKER_FLAGS, '-e', evil], { encoding: 'utf8', timeout: 20_000 });
  assert.equal(stdout.trim(), 'false');
  assert.ok(performance.now() - bornMs < 3000, `${Math.round(performance.now() - bornMs)} ms`);
});
