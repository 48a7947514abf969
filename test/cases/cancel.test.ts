/**
 * notifications/cancelled on every way to the hub: the server stops, and nothing is sent under the id of the cancelled
 * request.
 */
// case: CL26
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { CLI, cleanEnv, type RunningHub, startHub, until } from '../support/hub.ts';
import { faultServer } from '../support/real-servers.ts';
import { callText, SseClient } from '../support/sse-client.ts';

const CANCEL_5 = '{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":5,"reason":"enough"}}';
const SLOW_5 = callText('fault_sleep', '{"ms":20000}', { id: '5' });
const PING_6 = '{"jsonrpc":"2.0","id":6,"method":"ping"}';
const HAS_ID_5 = /"id":\s*5\b/;

describe('a cancelled request', { timeout: 120_000 }, () => {
  const ledger = join(tmpdir(), `mcphub-cancel-${process.pid}.txt`);
  const late = faultServer('slow-init', '2500');
  let hub: RunningHub;
  before(async () => {
    hub = await startHub({
      config: {
        mcpServers: {
          fault: faultServer('normal'),
          late: { ...late, env: { FAULT_LEDGER: ledger }, enabled: true },
        },
      },
    });
  });
  after(async () => {
    await hub?.[Symbol.asyncDispose]();
    rmSync(ledger, { force: true });
  });

  async function withClient(work: (client: SseClient) => Promise<void>): Promise<void> {
    const client = await new SseClient({ port: hub.port, key: hub.key, sockets: 4 }).open();
    try {
      await work(client);
    } finally {
      client.close();
    }
  }

  /** Whether a call waits for its server, by the hub's own account. */
  async function isCalling(): Promise<boolean> {
    const answer = await fetch(`${hub.url}/api/waits`, { headers: { authorization: `Bearer ${hub.key}` } });
    assert.equal(answer.status, 200);
    return (await answer.text()).includes('"upstream-call"');
  }
  const isIdle = async () => !(await isCalling());
  const untilCalled = () => until(isCalling, 5000, 'the call to its server');

  test('returns to the client at once when its first listing is awaited, and never reaches the server; nor does the call of a client that leaves', async () => {
    await withClient(async (client) => {
      const call = client.post(callText('late_echo', '{"text":"never"}', { id: '5' }));
      const leaving = new AbortController();
      const left = fetch(`${hub.url}/mcp`, {
        method: 'POST',
        headers: { authorization: `Bearer ${hub.key}`, 'content-type': 'application/json' },
        body: callText('late_echo', '{"text":"abandoned"}', { id: '6' }),
        signal: leaving.signal,
      }).then(
        () => 'answered',
        () => 'left',
      );
      await new Promise((resolve) => setTimeout(resolve, 300));
      assert.equal(call.over, false, call.received);
      leaving.abort();
      assert.equal(await left, 'left');
      await client.post(CANCEL_5).end();
      await call.end(1000);
      assert.deepEqual([call.status, call.body], [202, '']);
      const listed = () => client.post(callText('late_echo', '{"text":"later"}', { id: '7' })).end();
      await until(async () => (await listed()).received.includes('later'), 20_000, 'the server');
      const reached = readFileSync(ledger, 'utf8');
      assert.deepEqual([reached.includes('never'), reached.includes('abandoned')], [false, false]);
    });
  });

  test('over JSON ends with 202 and no body', async () => {
    await withClient(async (client) => {
      const call = client.post(SLOW_5, 'application/json');
      await untilCalled();
      await client.post(CANCEL_5).end();
      await call.end(1000);
      assert.deepEqual([call.status, call.body, call.ended], [202, '', true]);
      await until(isIdle, 5000, 'the end of the call at the server');
    });
  });

  test('on a stream ends it without a message, and resuming it says nothing of a lost call', async () => {
    await withClient(async (client) => {
      const call = client.post(SLOW_5);
      await call.head();
      assert.ok(call.isStream);
      await until(() => call.events.length > 0, 5000, 'the priming event');
      await client.post(CANCEL_5).end();
      await call.end(1000);
      assert.deepEqual([call.ended, HAS_ID_5.test(call.received)], [true, false], call.received);
      const resumed = await client.get(call.events.at(-1)?.id).end(2000);
      assert.equal(HAS_ID_5.test(resumed.received), false, resumed.received);
      assert.equal(resumed.status, 405);
    });
  });

  test('of a batch has no entry in its answer', async () => {
    await withClient(async (client) => {
      const both = client.post(`[${SLOW_5},${PING_6}]`);
      await untilCalled();
      await client.post(CANCEL_5).end();
      await both.end(1000);
      assert.deepEqual(
        JSON.parse(both.body).map(({ id }: { id: number }) => id),
        [6],
      );
    });
  });

  test('of a batch whose client leaves ends at the server, in a session too, because no stream leads back to it', async () => {
    await withClient(async (client) => {
      const both = client.post(`[${SLOW_5},${PING_6}]`);
      await untilCalled();
      both.drop();
      await until(isIdle, 5000, 'the end of the call at the server');
    });
  });

  test('gets nothing on the stream of a client of 2024-11-05', async () => {
    const headers = { authorization: `Bearer ${hub.key}`, 'content-type': 'application/json' };
    const abort = new AbortController();
    const stream = await fetch(`${hub.url}/sse`, { headers, signal: abort.signal });
    let text = '';
    const reader = (stream.body as ReadableStream<Uint8Array>).getReader();
    const reading = (async () => {
      for (let piece = await reader.read(); !piece.done; piece = await reader.read())
        text += Buffer.from(piece.value).toString('utf8');
    })().catch(() => {});
    await until(() => /data: \S+\n/.test(text), 5000, 'the endpoint');
    const endpoint = new URL(/data: (\S+)\n/.exec(text)?.[1] ?? '', `${hub.url}/sse`);
    const post = (body: string) => fetch(endpoint, { method: 'POST', headers, body });
    const hello = { protocolVersion: '2024-11-05', capabilities: {}, clientInfo: { name: 't', version: '1' } };
    await post(JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'initialize', params: hello }));
    await until(() => text.includes('"id":1'), 5000, 'the answer to initialize');
    await post(SLOW_5);
    await untilCalled();
    await post(CANCEL_5);
    await post(PING_6);
    await until(() => text.includes('"id":6'), 5000, 'the answer to ping');
    await until(isIdle, 5000, 'the end of the call at the server');
    assert.equal(HAS_ID_5.test(text), false, text);
    abort.abort();
    await reading;
  });

  test('gets nothing on the output of the bridge', async () => {
    const child = spawn(process.execPath, [CLI, 'bridge', '--data-dir', hub.dataDir], {
      env: cleanEnv(),
      stdio: ['pipe', 'pipe', 'ignore'],
    });
    let out = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      out += text;
    });
    const send = (text: string) => child.stdin.write(`${text}\n`);
    const hello = { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 't', version: '1' } };
    send(JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'initialize', params: hello }));
    await until(() => out.includes('"id":1'), 10_000, 'the answer to initialize');
    send('{"jsonrpc":"2.0","method":"notifications/initialized"}');
    send(SLOW_5);
    await untilCalled();
    send(CANCEL_5);
    send(PING_6);
    await until(() => out.includes('"id":6'), 5000, 'the answer to ping');
    await until(isIdle, 5000, 'the end of the call at the server');
    child.stdin.end();
    const code = await new Promise((resolve) => child.on('exit', resolve));
    assert.equal(code, 0);
    assert.equal(HAS_ID_5.test(out), false, out);
    assert.equal(out.split('\n').filter((line) => line !== '').length, 2, out);
  });
});
