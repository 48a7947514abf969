/**
 * Batches (2025-03-26) with large answers: bounded in bytes, and cut when their reader stops, with another key served
 * beside them.
 */
import assert from 'node:assert/strict';
import { connect, type Socket } from 'node:net';
import { after, before, test } from 'node:test';
import { type RunningHub, startHub, until } from '../support/hub.ts';
import { askHub } from '../support/load.ts';
import { rpc } from '../support/mcp.ts';
import { requestBytes } from '../support/raw-connection.ts';
import { faultServer } from '../support/real-servers.ts';
import { makeKey } from '../support/sse-client.ts';

const MIB = 1024 * 1024;
const BATCH_BYTES = 32 * MIB;
const SLOW_MS = 1000;

let hub: RunningHub;
let other: string;
before(async () => {
  hub = await startHub({
    config: { mcpServers: { plain: faultServer('normal') } },
    env: { MCPHUB_STREAM_SLOW_MS: String(SLOW_MS) },
  });
  await until(async () => (await rpc(`${hub.url}/mcp/plain`, 'tools/list', {}, hub)).text.includes('big'), 20_000);
  other = await makeKey(hub, 'other');
});
after(async () => {
  await hub[Symbol.asyncDispose]();
});

function batchOf(count: number, bytes: number): string {
  const calls = Array.from({ length: count }, (_, id) => ({
    ...{ jsonrpc: '2.0', id, method: 'tools/call' },
    params: { name: 'plain_big', arguments: { bytes } },
  }));
  const headers = { authorization: `Bearer ${hub.key}`, 'content-type': 'application/json' };
  return requestBytes('POST /mcp', { ...headers, connection: 'close' }, JSON.stringify(calls));
}

/** Resident memory of the worker, now and at most so far. */
async function memory(): Promise<{ rssBytes: number; peakRssBytes: number }> {
  return (await askHub(hub, '/api/health')).process;
}

/** Runs `work`, and returns the slowest ping of another key meanwhile. */
async function beside(work: Promise<unknown>): Promise<number> {
  let [slowestMs, isOver] = [0, false];
  const done = work.finally(() => {
    isOver = true;
  });
  while (!isOver) {
    const bornMs = performance.now();
    assert.equal((await rpc(`${hub.url}/mcp`, 'ping', {}, { key: other })).status, 200);
    slowestMs = Math.max(slowestMs, performance.now() - bornMs);
  }
  await done;
  return slowestMs;
}

function received(socket: Socket): Promise<Buffer> {
  const chunks: Buffer[] = [];
  socket.on('data', (chunk) => chunks.push(chunk));
  return new Promise((resolve, reject) => {
    socket.on('error', reject).on('close', () => resolve(Buffer.concat(chunks)));
  });
}

// finding: SR-M5
test('a batch whose answers would hold 600 MiB gets 32 MiB of them and an error for every other call', async (t) => {
  const workers = hub.processes().hub;
  const before = await memory();
  const socket = connect(hub.port, '127.0.0.1');
  socket.write(batchOf(100, 6 * MIB));
  const reading = received(socket);
  const slowestMs = await beside(reading);
  const text = (await reading).toString('latin1');
  const answers = JSON.parse(text.slice(text.indexOf('\r\n\r\n') + 4)) as {
    id: number;
    result?: object;
    error?: { data: { code: string } };
  }[];
  assert.deepEqual(
    answers.map(({ id }) => id).sort((a, b) => a - b),
    Array.from({ length: 100 }, (_, id) => id),
  );
  const codes = new Set(answers.flatMap(({ error }) => error?.data.code ?? []));
  // A key has its share of the places of a server; the calls beyond it are refused sooner.
  assert.ok(
    codes.has('batch-too-large') && codes.isSubsetOf(new Set(['batch-too-large', 'server-busy'])),
    [...codes].join(),
  );
  assert.equal(answers.filter(({ result }) => result).length, 5);
  assert.ok(text.length < BATCH_BYTES + MIB, `${text.length} bytes`);
  const { peakRssBytes } = await memory();
  const moreMib = Math.round((peakRssBytes - before.rssBytes) / MIB);
  t.diagnostic(`${moreMib} MiB more at the peak; slowest ping of another key ${Math.round(slowestMs)} ms`);
  assert.ok(moreMib < 400, `${moreMib} MiB more`);
  assert.deepEqual(hub.processes().hub, workers);
});

// finding: SR-N4
test('readers that stop in the middle of a batch answer are cut, and their answers leave memory', async (t) => {
  const workers = hub.processes().hub;
  const before = await memory();
  const sockets = Array.from({ length: 3 }, () => connect(hub.port, '127.0.0.1'));
  const ends = sockets.map(
    (socket) =>
      new Promise<void>((resolve) => {
        socket.on('error', () => {});
        socket.on('close', () => resolve());
        // The first bytes of the answer, and no more.
        socket.once('data', () => socket.pause());
        socket.write(batchOf(5, 3 * MIB));
      }),
  );
  const held = async (): Promise<number> => {
    const answer = await askHub(hub, '/api/ceilings');
    const rows: { name: string; size: number }[] | undefined = answer?.ceilings;
    return rows?.find(({ name }) => name === 'downstream.connections.front')?.size ?? Number.NaN;
  };
  await until(async () => (await held()) >= sockets.length, 5000, 'the connections');
  // One is that of the pings beside.
  const slowestMs = await beside(until(async () => (await held()) <= 2, 90_000, 'every reader to be cut'));
  for (const socket of sockets) socket.resume();
  await Promise.all(ends);
  const { peakRssBytes } = await memory();
  const moreMib = Math.round((peakRssBytes - before.rssBytes) / MIB);
  t.diagnostic(`${moreMib} MiB more at the peak; slowest ping of another key ${Math.round(slowestMs)} ms`);
  assert.ok(moreMib < 200, `${moreMib} MiB more`);
  await until(async () => (await askHub(hub, '/api/health')).counts.calls === 0, 5000, 'no call is left');
  assert.deepEqual(hub.processes().hub, workers);
});
