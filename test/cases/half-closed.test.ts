/**
 * Clients that end their half of the connection after the request, and those that are gone: the same bytes, until
 * something is written.
 */
import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { after, before, test } from 'node:test';
import { type RunningHub, until } from '../support/hub.ts';
import { Journal, startReadyHub } from '../support/journal.ts';
import { answersIn } from '../support/raw-client.ts';
import { faultServer } from '../support/real-servers.ts';
import { statelessBody, statelessHeaders } from '../support/stateless.ts';

const BOTH = 'application/json, text/event-stream';
const journal = new Journal();
let hub: RunningHub;
before(async () => {
  hub = await startReadyHub({ mcpServers: { fault: faultServer('normal'), journal: journal.stdio() } });
});
after(async () => {
  await hub?.[Symbol.asyncDispose]();
  journal[Symbol.dispose]();
});

function callBody(name: string, args: object): object {
  return { jsonrpc: '2.0', id: 7, method: 'tools/call', params: { name, arguments: args } };
}

function requestText(
  body: object,
  version: '1.0' | '1.1' = '1.1',
  headers: Readonly<Record<string, string>> = {},
): string {
  const text = JSON.stringify(body);
  const fields = {
    Host: 'localhost',
    Authorization: `Bearer ${hub.key}`,
    'Content-Type': 'application/json',
    ...headers,
  };
  const lines = Object.entries(fields).map(([name, value]) => `${name}: ${value}\r\n`);
  return `POST /mcp HTTP/${version}\r\n${lines.join('')}Content-Length: ${Buffer.byteLength(text)}\r\n\r\n${text}`;
}

/** Sends the request with a FIN behind it, and returns all that comes back until the hub closes. */
function sendAndEnd(text: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port: hub.port, host: '127.0.0.1', allowHalfOpen: true });
    let received = '';
    const limit = setTimeout(() => socket.destroy(new Error(`no end after ${JSON.stringify(received)}`)), 10_000);
    socket.on('data', (chunk) => {
      received += chunk.toString('utf8');
    });
    socket.on('error', reject);
    socket.on('end', () => socket.destroy());
    socket.on('close', () => {
      clearTimeout(limit);
      resolve(received);
    });
    socket.end(text);
  });
}

test('answers a client that has ended its half of the connection', async () => {
  for (const version of ['1.1', '1.0'] as const)
    for (const ms of version === '1.1' ? [0, 300] : [0]) {
      const received = await sendAndEnd(requestText(callBody('fault_sleep', { ms }), version));
      const { answers, rest } = answersIn(received, ['POST']);
      assert.deepEqual([answers.length, answers[0]?.status, rest], [1, 200, ''], received);
      assert.equal(JSON.parse(answers[0]?.body ?? '').id, 7);
      if (version === '1.0') assert.doesNotMatch(received, /100 Continue/);
    }
  const slow = await sendAndEnd(requestText(callBody('fault_sleep', { ms: 2500 })));
  assert.match(slow, /HTTP\/1\.1 200 OK\r\n.*"id":7,"result"/s);
});

test('answers every pipelined request before it closes', async () => {
  const texts = [1, 2, 3].map((id) => requestText({ ...callBody('fault_sleep', { ms: 100 }), id }));
  const { answers } = answersIn(await sendAndEnd(texts.join('')), ['POST', 'POST', 'POST']);
  assert.deepEqual(
    answers.map(({ status, body }) => [status, JSON.parse(body).id]),
    [1, 2, 3].map((id) => [200, id]),
  );
});

test('sends the events and the answer of a call to the end of a stream', async () => {
  const body = {
    ...callBody('fault_report', { text: 'x', steps: 5, ms: 50 }),
    params: { name: 'fault_report', arguments: { text: 'x', steps: 5, ms: 50 }, _meta: { progressToken: 1 } },
  };
  const received = await sendAndEnd(requestText(body, '1.1', { Accept: BOTH }));
  assert.equal(received.match(/notifications\/progress/g)?.length, 5, received);
  assert.match(received, /"id":7,"result"/);
});

test('closes at once when no response is open, and when a request is incomplete', async () => {
  assert.equal(await sendAndEnd(''), '');
  assert.match(await sendAndEnd('POST /mcp HTTP/1.1\r\nHost: localhost\r\n'), /^(HTTP\/1\.1 400 |$)/);
  const born = performance.now();
  const half = requestText(callBody('fault_echo', { text: 'x' })).slice(0, -5);
  assert.doesNotMatch(await sendAndEnd(half), / 200 OK/);
  assert.ok(performance.now() - born < 5000);
});

test('cancels the call of a client that is gone', async () => {
  const gone: readonly [string, string][] = [
    ['HTTP/1.1', requestText(callBody('journal_work', { name: 'HTTP/1.1', ms: 60_000 }))],
    ['HTTP/1.0', requestText(callBody('journal_work', { name: 'HTTP/1.0', ms: 60_000 }), '1.0')],
    ['a stream', requestText(callBody('journal_work', { name: 'a stream', ms: 60_000 }), '1.1', { Accept: BOTH })],
  ];
  const params = { name: 'journal_work', arguments: { name: '2026', ms: 60_000 } };
  const headers = statelessHeaders('tools/call', params);
  const stateless: [string, string] = ['2026', requestText(statelessBody('tools/call', params, {}), '1.1', headers)];
  for (const [name, text] of [...gone, stateless]) {
    const socket = connect(hub.port, '127.0.0.1');
    socket.write(text);
    await until(() => journal.state(name) === 'began', 10_000, `${name} has begun`);
    socket.destroy();
    await until(() => journal.state(name) === 'called off', 10_000, `${name} is cancelled`);
  }
});
