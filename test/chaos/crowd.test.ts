/**
 * Very many who do little: thousands of streams that are only open, sessions that are opened and abandoned, and readers
 * who subscribe and never read.
 */
// runs: alone
// covers: P12, P13
import assert from 'node:assert/strict';
import { get } from 'node:http';
import { connect, type Socket } from 'node:net';
import { describe, test } from 'node:test';
import { delay, type RunningHub, startHub, tryKill, until } from '../support/hub.ts';
import { askHub, Client, isResult, stdioServer } from '../support/load.ts';
import { IS_LONG, measured, scaled } from '../support/measured.ts';
import { isUnharmed } from '../support/unharmed.ts';

const ENV = { NODE_ENV: 'test', MCPHUB_FAULT_HOOKS: '1' };

/** After a collection of garbage. */
async function memoryOf(hub: RunningHub): Promise<{ rssBytes: number; heapBytes: number }> {
  for (const pid of hub.processes().hub ?? []) tryKill(pid, 'SIGURG');
  await delay(2500);
  return (await askHub(hub, '/api/health')).process;
}

async function serves(hub: RunningHub): Promise<void> {
  const client = new Client(hub);
  await until(async () => isResult(await client.call('one_echo', { text: 'up' })), 60_000, 'one');
  client.close();
}

/** A session's GET stream on a socket that is never read. */
function openUnread(hub: RunningHub, session: string): Socket {
  const socket = connect(hub.port, '127.0.0.1').on('error', () => {});
  socket.pause();
  const head = `host: 127.0.0.1\r\nauthorization: Bearer ${hub.key}\r\nmcp-session-id: ${session}\r\naccept: text/event-stream`;
  socket.write(`GET /mcp HTTP/1.1\r\n${head}\r\n\r\n`);
  return socket;
}

/** A stream that is open and read; no other connection of its client is left. */
function listening(hub: RunningHub, session: string): { open: Promise<void>; close: () => void } {
  const headers = { authorization: `Bearer ${hub.key}`, 'mcp-session-id': session, accept: 'text/event-stream' };
  const asked = get({ host: '127.0.0.1', port: hub.port, path: '/mcp', agent: false, headers });
  const open = new Promise<void>((done, fail) => {
    asked.on('response', (answer) => {
      answer.resume().on('error', () => {});
      if (answer.statusCode === 200) done();
      else fail(new Error(`the stream is ${answer.statusCode}`));
    });
    asked.on('error', fail);
  });
  open.catch(() => {});
  return { open, close: () => asked.destroy() };
}

/** How late updates arrive on a stream that is read, ms; more of them as they come. */
function arrivals(hub: RunningHub, session: string): { late: number[]; close: () => void } {
  const late: number[] = [];
  const headers = { authorization: `Bearer ${hub.key}`, 'mcp-session-id': session, accept: 'text/event-stream' };
  const asked = get({ host: '127.0.0.1', port: hub.port, path: '/mcp', agent: false, headers }, (answer) => {
    answer.setEncoding('latin1');
    answer.on('error', () => {});
    let rest = '';
    answer.on('data', (chunk: string) => {
      const lines = (rest + chunk).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) {
        const [, sentMs] = /"sentMs":(\d+)/.exec(line) ?? [];
        if (sentMs !== undefined) late.push(Date.now() - Number(sentMs));
      }
    });
  }).on('error', () => {});
  return { late, close: () => asked.destroy() };
}

async function subscribed(hub: RunningHub): Promise<string> {
  const client = new Client(hub);
  await client.open();
  const listed = JSON.parse((await client.post({ jsonrpc: '2.0', id: 1, method: 'resources/list', params: {} })).text);
  const { uri } = listed.result.resources[0];
  const answer = await client.post({ jsonrpc: '2.0', id: 2, method: 'resources/subscribe', params: { uri } });
  assert.ok(isResult(answer), answer.text);
  client.close();
  return client.session ?? '';
}

describe('a crowd', { timeout: 1_200_000 }, () => {
  // row C1 · guards src/session/_open-streams.ts
  test('streams that are only open cost little', async () => {
    await using hub = await startHub({ config: { mcpServers: { one: stdioServer() } }, env: ENV });
    await serves(hub);
    const crowd = async (count: number): Promise<() => void> => {
      const opener = new Client(hub);
      const streams: { close: () => void; open: Promise<void> }[] = [];
      for (let at = 0; at < count; at += 1) {
        await opener.open();
        streams.push(listening(hub, opener.session ?? ''));
        if (at % 50 === 49) await Promise.all(streams.slice(-50).map((one) => one.open));
      }
      opener.close();
      return () => {
        for (const one of streams) one.close();
      };
    };
    const count = scaled({ ci: 500, long: 5000 });
    // What the process needs for the work of opening is not theirs.
    for (let at = 0; at < count; at += 50) (await crowd(50))();
    await delay(2000);
    const before = await memoryOf(hub);
    const leave = await crowd(count);
    const after = await memoryOf(hub);
    const { connections } = (await askHub(hub, '/api/health')).counts;
    assert.ok(connections <= count + 5, `${connections} connections`);
    const value = (after.rssBytes - before.rssBytes) / count / 1024;
    measured({ promise: 'P12', what: 'resident memory per open stream', value, unit: 'KB', strict: 25, ci: 50 });
    leave();
    await isUnharmed(hub, 'one_echo');
  });

  // In CI there is no time for sessions to become idle; what one costs is looked at in `clients.test.ts`.
  if (IS_LONG)
    // row C1 · guards src/session/sessions.ts
    test('sessions that are opened and abandoned, three times: memory is what it was once they are idle', async () => {
      const env = { ...ENV, MCPHUB_SESSION_IDLE_MS: '10000' };
      await using hub = await startHub({ config: { mcpServers: { one: stdioServer() } }, env });
      await serves(hub);
      const round = async (count: number): Promise<void> => {
        const client = new Client(hub, 8);
        const params = { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'c', version: '1' } };
        const one = async (): Promise<void> => {
          for (let at = 0; at < count / 8; at += 1)
            assert.equal((await client.post({ jsonrpc: '2.0', id: 0, method: 'initialize', params })).status, 200);
        };
        await Promise.all(Array.from({ length: 8 }, one));
        client.close();
      };
      const count = 10_000;
      await round(count);
      await delay(25_000);
      const before = await memoryOf(hub);
      for (let at = 0; at < 3; at += 1) await round(count);
      await delay(25_000);
      const after = await memoryOf(hub);
      const gate = { promise: 'P12', unit: '×' };
      measured({
        ...gate,
        what: 'heap after three rounds of abandoned sessions, against before',
        value: after.heapBytes / before.heapBytes,
        strict: 1.1,
      });
      measured({
        ...gate,
        what: 'resident memory after three rounds of abandoned sessions, against before',
        value: after.rssBytes / before.rssBytes,
        strict: 1.1,
      });
      await isUnharmed(hub, 'one_echo');
    });

  // row C8 · guards src/downstream/streams.ts
  test('subscribers that never read are cut, memory stays, and those who read hear at once', async () => {
    const bytes = scaled({ ci: 100_000, long: 25_000 });
    await using hub = await startHub({
      config: { mcpServers: { one: stdioServer(), clock: stdioServer('updates', String(bytes)) } },
      env: ENV,
    });
    await serves(hub);
    const probe = new Client(hub);
    await until(async () => isResult(await probe.call('clock_echo', { text: 'up' })), 60_000, 'clock');
    probe.close();
    const readers = await Promise.all(Array.from({ length: 10 }, () => subscribed(hub)));
    const honest = readers.map((session) => arrivals(hub, session));
    const before = await memoryOf(hub);
    const deaf = scaled({ ci: 20, long: 100 });
    const sessions = await Promise.all(Array.from({ length: deaf }, () => subscribed(hub)));
    const sockets = sessions.map((session) => openUnread(hub, session));
    let mostBytes = 0;
    const cutMs = await until(
      async () => {
        await delay(250);
        const health = await askHub(hub, '/api/health');
        mostBytes = Math.max(mostBytes, health.process.rssBytes);
        return health.counts.streams <= honest.length;
      },
      120_000,
      'that all are cut',
    );
    const late = honest.flatMap((one) => one.late).sort((a, b) => a - b);
    assert.ok(late.length >= 10 * 10 * (cutMs / 1000) * 0.5, `${late.length} updates in ${Math.round(cutMs)} ms`);
    const gate = { promise: 'P13', what: `${deaf} subscribers that never read` };
    measured({
      ...gate,
      what: `${gate.what}: memory`,
      value: (mostBytes - before.rssBytes) / 2 ** 20,
      unit: 'MB',
      strict: 150,
      ci: 300,
    });
    measured({
      ...gate,
      what: `${gate.what}: p99 of what others hear`,
      value: late[Math.floor(late.length * 0.99)] ?? Number.NaN,
      unit: 'ms',
      strict: 100,
      ci: 220,
    });
    for (const socket of sockets) socket.destroy();
    for (const one of honest) one.close();
    await isUnharmed(hub, 'one_echo');
  });
});
