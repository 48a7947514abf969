/**
 * Clients that leave, drip, flood, repeat themselves, come back all at once or never read: one hub bears them all, and
 * is as it was afterwards.
 */
// runs: in pairs, about 80 s
// covers: P3, P11, P12, P13, P17, P18
import assert from 'node:assert/strict';
import { connect, type Socket } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { delay, freePort, type RunningHub, startHub, tryKill, until } from '../support/hub.ts';
import { type Answer, askHub, Client, isResult, median, stdioServer } from '../support/load.ts';
import { measured, scaled } from '../support/measured.ts';
import { isUnharmed } from '../support/unharmed.ts';

const ENV = { NODE_ENV: 'test', MCPHUB_FAULT_HOOKS: '1' };

/** A request as bytes, on a socket that can do what no HTTP library does. */
function bytesOf(hub: RunningHub, body: string, more = ''): string {
  return `POST /mcp HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer ${hub.key}\r\ncontent-type: application/json\r\n${more}content-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;
}

function call(tool: string, args: object, id: number | string = 1): string {
  return JSON.stringify({ jsonrpc: '2.0', id, method: 'tools/call', params: { name: tool, arguments: args } });
}

function open(hub: RunningHub): Socket {
  const socket = connect(hub.port, '127.0.0.1');
  socket.on('error', () => {});
  return socket;
}

async function cpuMs(pid: number, overMs: number): Promise<number> {
  const used = () =>
    import('node:fs').then(({ readFileSync }) => {
      const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
        .replace(/^.*\) /, '')
        .split(' ');
      return (Number(fields[11]) + Number(fields[12])) * 10;
    });
  const from = await used();
  await delay(overMs);
  return (await used()) - from;
}

describe('one hub bears', { timeout: 400_000 }, () => {
  let hub: RunningHub;

  before(async () => {
    hub = await startHub({ config: { mcpServers: { one: stdioServer() } }, env: ENV });
    const client = new Client(hub);
    await until(async () => isResult(await client.call('one_echo', { text: 'up' })), 60_000, 'one');
    client.close();
  });

  after(async () => {
    await hub?.[Symbol.asyncDispose]();
  });

  const pidOf = (): number => hub.processes().hub?.[0] ?? 0;

  // row C10, F6 · guards src/downstream/endpoint.ts
  test('clients that are reset at any moment of a call: none crashes it, no call is left, the CPU is idle again', async () => {
    const pid = pidOf();
    const clients = scaled({ ci: 300, long: 1000 });
    for (let at = 0; at < clients; at += 1) {
      const socket = open(hub);
      const bytes = bytesOf(hub, call('one_sleep', { ms: 50 + (at % 100) }));
      // Some leave before they have said everything, some while it runs, some as it is answered.
      socket.write(bytes.slice(0, at % 5 === 0 ? Math.ceil(bytes.length / 2) : bytes.length));
      setTimeout(() => socket.resetAndDestroy(), 5 + (at % 160));
      if (at % 50 === 49) await delay(60);
    }
    await delay(1500);
    await isUnharmed(hub, 'one_echo');
    assert.equal(pidOf(), pid);
    await delay(1500);
    const busyMs = await cpuMs(pid, 2000);
    assert.ok(busyMs < 400, `${busyMs} ms of CPU in two idle seconds`);
  });

  // row C4 · guards src/session/_open-streams.ts
  test('four hundred streams that are dropped: the next is accepted', async () => {
    const streams = scaled({ ci: 400, long: 2000 });
    for (let at = 0; at < streams; at += 40) {
      const clients = Array.from({ length: 40 }, () => new Client(hub));
      await Promise.all(clients.map((client) => client.open()));
      assert.deepEqual(new Set(await Promise.all(clients.map((client) => client.listen()))), new Set([200]));
      for (const client of clients) client.close();
    }
    const late = new Client(hub);
    await late.open();
    assert.equal(await late.listen(), 200);
    late.close();
    await isUnharmed(hub, 'one_echo');
  });

  // row C15 · guards src/upstream/connection/correlator.ts
  test('two calls with one id at once in one session: both are answered, each with its own', async () => {
    const client = new Client(hub, 2);
    await client.open();
    const [slow, quick] = await Promise.all([
      client.call('one_sleep', { ms: 300 }),
      client.call('one_echo', { text: 'mine' }),
    ]);
    assert.ok(isResult(slow) && !slow.text.includes('mine'), slow.text);
    assert.ok(isResult(quick) && quick.text.includes('mine'), quick.text);
    client.close();
  });

  // row C17, F13 · guards src/runtime/deadline.ts
  test('ten thousand calls in one session: the heap and the handles are what they were, and Node warns of nothing', async () => {
    const client = new Client(hub, 8);
    await client.open();
    const rush = async (calls: number): Promise<void> => {
      let left = calls;
      const one = async (): Promise<void> => {
        while (left > 0) {
          left -= 1;
          assert.ok(isResult(await client.call('one_echo', { text: 'x' })));
        }
      };
      await Promise.all(Array.from({ length: 8 }, one));
    };
    const stand = async (): Promise<{ heapBytes: number; active: number }> => {
      tryKill(pidOf(), 'SIGURG');
      await delay(1200);
      return (await askHub(hub, '/api/health')).process;
    };
    await rush(2000);
    const from = await stand();
    await rush(scaled({ ci: 10_000, long: 100_000 }));
    const to = await stand();
    measured({
      promise: 'P12',
      what: 'heap after many calls in one session, against before',
      value: to.heapBytes / from.heapBytes,
      unit: '×',
      strict: 1.1,
    });
    assert.ok(to.active <= from.active + 8, `${from.active} → ${to.active} handles`);
    assert.doesNotMatch(hub.log, /MaxListeners|Warning:/);
    client.close();
  });

  // row C1 · guards src/session/sessions.ts
  test('sessions that are opened and abandoned cost little', async () => {
    const stand = async (): Promise<{ heapBytes: number }> => {
      tryKill(pidOf(), 'SIGURG');
      await delay(1200);
      return (await askHub(hub, '/api/health')).process;
    };
    const count = scaled({ ci: 2000, long: 10_000 });
    const from = await stand();
    const client = new Client(hub, 8);
    const one = async (): Promise<void> => {
      for (let at = 0; at < count / 8; at += 1) {
        const answer = await client.post({
          jsonrpc: '2.0',
          id: 0,
          method: 'initialize',
          params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: `c${at}`, version: '1' } },
        });
        assert.equal(answer.status, 200);
      }
    };
    await Promise.all(Array.from({ length: 8 }, one));
    const to = await stand();
    measured({
      promise: 'P12',
      what: 'heap per idle session',
      value: Math.max(0, to.heapBytes - from.heapBytes) / count / 1024,
      unit: 'KB',
      strict: 4,
    });
    client.close();
  });

  // row C18 · guards src/downstream/listener.ts
  test('requests that drip in are closed at their time, and honest ones do not notice', async () => {
    const dripping = Array.from({ length: scaled({ ci: 200, long: 2000 }) }, (_, at) => {
      const socket = open(hub);
      const text =
        at % 2 === 0
          ? 'GET /health HTTP/1.1\r\nhost: 127.0.0.1\r\nx-slow: '
          : bytesOf(hub, call('one_echo', { text: 'x'.repeat(500) }));
      socket.write(text.slice(0, 80));
      const drip = setInterval(() => socket.write('x'), 1000);
      socket.on('close', () => clearInterval(drip));
      return { socket, isHead: at % 2 === 0 };
    });
    const bornMs = performance.now();
    const closedMs = new Map<Socket, number>();
    for (const { socket } of dripping) socket.on('close', () => closedMs.set(socket, performance.now() - bornMs));
    for (const { socket } of dripping) socket.resume();
    const client = new Client(hub);
    const took: number[] = [];
    await until(
      async () => {
        const answer = await client.call('one_echo', { text: 'honest' });
        assert.ok(isResult(answer));
        took.push(answer.ms);
        await delay(100);
        return dripping.every(({ socket }) => closedMs.has(socket));
      },
      45_000,
      'the end of all that drip',
    );
    measured({
      promise: 'P11',
      what: 'honest call while others drip, median',
      value: median(took),
      unit: 'ms',
      strict: 20,
      ci: 60,
    });
    measured({
      promise: 'P11',
      what: 'headers that drip are closed after',
      value: Math.max(...dripping.filter(({ isHead }) => isHead).map(({ socket }) => closedMs.get(socket) ?? 0)) / 1000,
      unit: 's',
      strict: 11.5,
      ci: 15,
    });
    client.close();
  });

  // row C8 · guards src/downstream/slow-reader.ts
  test('readers that do not read are cut, memory stays, and honest readers get theirs', async () => {
    const before = (await askHub(hub, '/api/health')).process.rssBytes;
    // More than the kernel's buffers of both ends hold: what fits there is no concern of the hub.
    const [readers, bytes] = [5, 14_000_000];
    const sockets = Array.from({ length: readers }, () => {
      const socket = open(hub);
      socket.pause();
      socket.write(bytesOf(hub, call('one_big', { bytes })));
      return socket;
    });
    const client = new Client(hub);
    const answers: Answer[] = [];
    const bornMs = performance.now();
    let mostBytes = 0;
    let figures = await askHub(hub, '/api/health');
    while (performance.now() - bornMs < 3000 || figures.counts.connections > 2) {
      assert.ok(performance.now() - bornMs < 45_000, 'they are cut');
      answers.push(await client.call('one_echo', { text: 'honest' }));
      await delay(50);
      figures = await askHub(hub, '/api/health');
      mostBytes = Math.max(mostBytes, figures.process.rssBytes);
    }
    assert.ok(answers.every(isResult));
    const [mb, cutAfter] = [(mostBytes - before) / 2 ** 20, (performance.now() - bornMs) / 1000];
    measured({
      promise: 'P13',
      what: `memory held by ${readers} readers of 14 MB that do not read`,
      value: mb,
      unit: 'MB',
      strict: 150,
    });
    measured({
      promise: 'P13',
      what: 'readers of an answer that take nothing are cut after',
      value: cutAfter,
      unit: 's',
      // The 10 s, the call itself, and the answers' way into the kernel's buffers.
      strict: 11,
      ci: 25,
    });
    for (const socket of sockets) socket.destroy();
    client.close();
    await isUnharmed(hub, 'one_echo');
  });

  // row C9 · guards src/downstream/slow-reader.ts
  test('a reader that is slow but alive gets all of it, though it takes longer than the limit for those that take nothing', async () => {
    const socket = open(hub);
    socket.pause();
    socket.write(bytesOf(hub, call('one_big', { bytes: 14_000_000 }), 'connection: close\r\n'));
    let bytes = 0;
    let isOver = false;
    socket.on('close', () => {
      isOver = true;
    });
    socket.on('data', (chunk) => {
      bytes += chunk.length;
      socket.pause();
    });
    const bornMs = performance.now();
    while (!isOver && performance.now() - bornMs < 60_000) {
      await delay(80);
      socket.resume();
    }
    assert.ok(bytes > 14_000_000, `${bytes} bytes in ${Math.round(performance.now() - bornMs)} ms`);
    assert.ok(performance.now() - bornMs > 11_000, 'it took longer than that');
  });

  // row C20 · guards src/supervisor/connection-dispatcher.ts
  test('everybody comes back at once: all are served, and the server is met once', async () => {
    const clients = Array.from({ length: scaled({ ci: 350, long: 700 }) }, () => new Client(hub));
    const bornMs = performance.now();
    const servers = (await askHub(hub, '/servers')).servers.map((one: { restarts: number }) => one.restarts);
    const answers = await Promise.all(
      clients.map(async (client) => {
        await client.open();
        await client.listen();
        return client.call('one_echo', { text: 'back' });
      }),
    );
    const tookMs = performance.now() - bornMs;
    // Each key may have 256 calls in flight; who is above is told to come again, which counts as served.
    assert.ok(
      answers.every((answer) => isResult(answer) || answer.text.includes('key-busy')),
      answers.find((one) => !isResult(one))?.text,
    );
    measured({
      promise: 'P3',
      what: `${clients.length} clients back at once, all served after`,
      value: tookMs,
      unit: 'ms',
      strict: 5000,
      ci: 10_020,
    });
    assert.deepEqual(
      (await askHub(hub, '/servers')).servers.map((one: { restarts: number }) => one.restarts),
      servers,
    );
    for (const client of clients) client.close();
    await isUnharmed(hub, 'one_echo');
  });
});

// row F8 · guards src/downstream/listener.ts
test('with 256 descriptors and a thousand clients: some are told 503, health answers, and servers can be started', {
  timeout: 120_000,
}, async () => {
  const port = await freePort();
  await using hub = await startHub({
    config: { mcpServers: { one: stdioServer(), two: stdioServer() } },
    port,
    env: ENV,
    descriptors: 256,
  });
  const client = new Client(hub);
  await until(async () => isResult(await client.call('one_echo', { text: 'up' })), 60_000, 'one');
  const sockets = Array.from({ length: 1000 }, () => open(hub));
  let refused = 0;
  for (const socket of sockets) {
    socket.on('data', (chunk) => {
      if (chunk.toString('latin1').startsWith('HTTP/1.1 503')) refused += 1;
    });
  }
  await delay(3000);
  const bornMs = performance.now();
  const health = await askHub(hub, '/api/health');
  assert.ok(health !== undefined && performance.now() - bornMs < 2000, 'it says how it is');
  assert.ok(health.counts.connections <= 256 - 64, `${health.counts.connections} connections`);
  assert.ok(refused > 0, 'who is too much is told so');
  const [pid = 0] = hub.processes().hub ?? [];
  assert.ok(isResult(await client.call('one_echo', { text: 'kept' })), 'who is inside is served');
  await askHub(hub, '/servers');
  const { run } = await import('../support/cli.ts');
  const { CLI } = await import('../support/hub.ts');
  const restarted = await run(process.execPath, [CLI, 'servers', 'restart', 'two', '--data-dir', hub.dataDir]);
  assert.equal(restarted.code, 0, restarted.stderr);
  for (const socket of sockets) socket.destroy();
  client.close();
  await until(
    async () => (await fetch(`${hub.url}/health`).catch(() => undefined))?.status === 200,
    20_000,
    'the port',
  );
  assert.deepEqual(hub.processes().hub, [pid], 'nobody was killed for it');
  await isUnharmed(hub, 'two_echo');
});
