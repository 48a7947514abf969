/**
 * Header lines as clients and proxies really send them: each header × each spelling × each route that reads it.
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { sendLines, spellings } from '../support/header-lines.ts';
import { type RunningHub, until } from '../support/hub.ts';
import { makeKey, startReadyHub } from '../support/journal.ts';
import { rpc } from '../support/mcp.ts';
import type { RawAnswer } from '../support/raw-client.ts';
import { RawConnection } from '../support/raw-connection.ts';
import { faultServer } from '../support/real-servers.ts';
import { MODERN, statelessBody } from '../support/stateless.ts';

const HELLO = { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'case', version: '1' } };
const PING = '{"jsonrpc":"2.0","id":7,"method":"ping"}';
const LIST = '{"jsonrpc":"2.0","id":7,"method":"tools/list"}';
const INITIALIZE = JSON.stringify({ jsonrpc: '2.0', id: 7, method: 'initialize', params: HELLO });
const JSON_TYPE = 'Content-Type: application/json';

let hub: RunningHub;
let key = '';
let session = '';
before(async () => {
  hub = await startReadyHub({
    mcpServers: { fault: faultServer('normal') },
    limits: { refusalLinesPerAddress: 1000, refusalLinesPerMinute: 1000 },
  });
  key = `Authorization: Bearer ${hub.key}`;
  session = (await rpc(`${hub.url}/mcp`, 'initialize', HELLO, { key: hub.key })).session ?? '';
});
after(async () => {
  await hub?.[Symbol.asyncDispose]();
});

function post(fields: readonly string[], body: string | Buffer = LIST, path = '/mcp'): Promise<RawAnswer> {
  return sendLines(hub.port, { line: `POST ${path}`, fields: [key, ...fields], body });
}

/** A call of 2026-07-28, with `fields` in place of its own lines of the same name. */
function stateless(fields: readonly string[], body?: string): Promise<RawAnswer> {
  const own = [`MCP-Protocol-Version: ${MODERN}`, 'Mcp-Method: tools/call', 'Mcp-Name: fault_echo', JSON_TYPE];
  const names = new Set(fields.map((field) => field.slice(0, field.indexOf(':')).toLowerCase()));
  const lines = own.filter((field) => !names.has(field.slice(0, field.indexOf(':')).toLowerCase()));
  const call = statelessBody('tools/call', { name: 'fault_echo', arguments: { text: 'hi' } }, {});
  return post([...lines, ...fields], body ?? JSON.stringify(call));
}

/** Each spelling of one value is served; two different values are 400 and name the header. */
async function assertOneValue(
  name: string,
  { value, other }: { readonly value: string; readonly other: string },
  send: (fields: readonly string[]) => Promise<RawAnswer>,
  served = 200,
): Promise<void> {
  for (const [spelling, fields] of Object.entries(spellings(name, value))) {
    const { status, body } = await send(fields);
    assert.equal(status, served, `${name}, ${spelling}: ${body.slice(0, 200)}`);
  }
  for (const fields of [[`${name}: ${value}`, `${name}: ${other}`], [`${name}: ${value}, ${other}`]]) {
    const { status, body } = await send(fields);
    assert.equal(status, 400, `${name}, different values: ${body.slice(0, 200)}`);
    assert.match(body, new RegExp(name, 'i'));
  }
}

// case: CL1
test('serves a request whose Mcp-Session-Id is repeated, and names the header when two sessions are meant', async () => {
  const second = (await rpc(`${hub.url}/mcp`, 'initialize', HELLO, { key: hub.key })).session ?? '';
  const values = { value: session, other: second };
  await assertOneValue('Mcp-Session-Id', values, (fields) => post([JSON_TYPE, ...fields]));
  await assertOneValue('Mcp-Session-Id', values, (fields) => post([JSON_TYPE, ...fields], LIST, '/mcp/fault'));
  const gone = await post([JSON_TYPE, `Mcp-Session-Id: ${session}x, ${session}x`]);
  assert.equal(gone.status, 404);
  const end = (fields: readonly string[]) => sendLines(hub.port, { line: 'DELETE /mcp', fields: [key, ...fields] });
  assert.equal((await end([`Mcp-Session-Id: ${second}, ${session}`])).status, 400);
  assert.equal((await end([`Mcp-Session-Id: ${second}, ${second}`])).status, 200);
});

// case: CL1
test('serves a request whose Content-Type is repeated, and names the header when two types are meant', async () => {
  const values = { value: 'application/json', other: 'text/plain' };
  await assertOneValue('Content-Type', values, (fields) => post(fields));
  await assertOneValue('Content-Type', values, (fields) => stateless(fields));
  for (const type of ['APPLICATION/JSON', 'application/json; charset=utf-8', 'application/json;charset="UTF-8"'])
    assert.equal((await post([`Content-Type: ${type}`])).status, 200, type);
});

// case: CL1
test('serves a request with any list of dates that has a known one, and refuses lists without one', async () => {
  for (const date of ['2025-06-18', '2025-11-25'])
    for (const [spelling, fields] of Object.entries(spellings('MCP-Protocol-Version', date)))
      for (const inSession of [[], [`Mcp-Session-Id: ${session}`]])
        assert.equal((await post([JSON_TYPE, ...inSession, ...fields])).status, 200, spelling);
  for (const dates of ['2025-11-25, 2025-06-18', '1999-01-01, 2025-06-18', '2026-07-28, 2025-11-25'])
    assert.equal((await post([JSON_TYPE, `MCP-Protocol-Version: ${dates}`])).status, 200, dates);
  const unknown = await post([JSON_TYPE, 'MCP-Protocol-Version: 1999-01-01', 'MCP-Protocol-Version: 2099-01-01']);
  assert.equal(unknown.status, 400);
  assert.match(unknown.body, /MCP-Protocol-Version/);
});

// case: CL1
test('serves a call of 2026-07-28 whose headers are repeated, and names the one that says something else', async () => {
  for (const [spelling, fields] of Object.entries(spellings('MCP-Protocol-Version', MODERN)))
    assert.equal((await stateless(fields)).status, 200, spelling);
  assert.equal((await stateless([`MCP-Protocol-Version: ${MODERN}, 2025-11-25`])).status, 200);
  await assertOneValue('Mcp-Method', { value: 'tools/call', other: 'tools/list' }, stateless);
  await assertOneValue('Mcp-Name', { value: 'fault_echo', other: 'fault_add' }, stateless);
});

// case: CL1
test('never merges Authorization: a repeated or doubled key is 401', async () => {
  const send = (fields: readonly string[], path = '/mcp') =>
    sendLines(hub.port, { line: `POST ${path}`, fields: [JSON_TYPE, ...fields], body: LIST });
  const other = await makeKey(hub, 'other');
  for (const path of ['/mcp', '/mcp/fault', '/messages?sessionId=1-AAAAAAAAAAAAAAAAAAAAAA'])
    for (const second of [key, `Authorization: Bearer ${other}`, 'Authorization: Basic eDp5'])
      assert.equal((await send([key, second], path)).status, 401, path);
  assert.equal((await send([`${key}, Bearer ${hub.key}`])).status, 401);
});

// case: CL1
test('answers 400 to two Host lines on every path, also when they are equal', async () => {
  for (const line of ['POST /mcp', 'GET /health', 'GET /', 'GET /api/health', 'GET /sse', 'GET /none'])
    for (const second of ['127.0.0.1', 'localhost', 'evil.example']) {
      const answer = await sendLines(hub.port, { line, fields: [`Host: ${second}`, key] });
      assert.equal(answer.status, 400, `${line} ${second}`);
      assert.match(answer.body, /Host/);
    }
  assert.equal((await sendLines(hub.port, { line: 'GET /mcp', host: 'localhost, localhost' })).status, 400);
});

// case: CL1
test('answers 400 with an error to HTTP/1.1 without Host, and to versions other than 1.0 and 1.1, and records it', async () => {
  for (const line of ['POST /mcp', 'GET /health', 'GET /none', 'GET http://localhost/mcp']) {
    const answer = await sendLines(hub.port, { line, host: null, fields: [key] });
    assert.deepEqual([answer.status, answer.headers['content-type']], [400, 'application/json'], line);
    const { id, error } = JSON.parse(answer.body);
    assert.deepEqual([id, error.code, error.data.code], [null, -32700, 'http-malformed'], line);
    assert.match(error.message, /no Host header/);
  }
  for (const version of ['0.9', '2.0'] as const) {
    const answer = await sendLines(hub.port, { line: 'GET /health', version });
    assert.equal(answer.status, 400, version);
    assert.match(answer.body, /is not supported/);
  }
  assert.equal((await sendLines(hub.port, { line: 'GET /health', version: '1.0', host: null })).status, 200);
  await until(() => hub.lines.some(({ msg }) => String(msg).includes('no Host header')), 5000);
});

// case: CL2
test('negotiates in initialize, and accepts notifications, whatever date the header names', async () => {
  for (const dates of ['2026-07-28', '2026-07-28, 2026-07-28', '2026-07-28, 2025-11-25']) {
    const hello = await post([JSON_TYPE, `MCP-Protocol-Version: ${dates}`], INITIALIZE);
    assert.equal(hello.status, 200, dates);
    assert.equal(JSON.parse(hello.body).result.protocolVersion, '2025-11-25');
    assert.ok(hello.headers['mcp-session-id']);
    const fields = [JSON_TYPE, `MCP-Protocol-Version: ${dates}`, `Mcp-Session-Id: ${hello.headers['mcp-session-id']}`];
    const initialized = '{"jsonrpc":"2.0","method":"notifications/initialized"}';
    assert.equal((await post(fields, initialized)).status, 202, dates);
  }
  const request = await post([JSON_TYPE, 'MCP-Protocol-Version: 2026-07-28']);
  assert.equal(request.status, 400);
  assert.equal(JSON.parse(request.body).error.code, -32602);
  const meta = { 'io.modelcontextprotocol/protocolVersion': '2025-11-25' };
  const said = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'initialize', params: { ...HELLO, _meta: meta } });
  assert.equal((await post([JSON_TYPE], said)).status, 200);
});

// case: CL1
test('resumes after the event that a repeated Last-Event-ID names, and names the header when two are meant', async () => {
  const fields = [key, 'Accept: text/event-stream', `Mcp-Session-Id: ${session}`];
  for (const [spelling, lines] of Object.entries(spellings('Last-Event-ID', '1.abcdefgh.1.1'))) {
    using connection = new RawConnection(hub.port);
    connection.send(`${['GET /mcp HTTP/1.1', 'Host: localhost', ...fields, ...lines].join('\r\n')}\r\n\r\n`);
    await connection.has(/^HTTP\/1\.1 200 OK/).catch((fault) => assert.fail(`${spelling}: ${fault}`));
  }
  for (const lines of [['Last-Event-ID: a', 'Last-Event-ID: b'], ['Last-Event-ID: a, b']]) {
    const { status, body } = await sendLines(hub.port, { line: 'GET /mcp', fields: [...fields, ...lines] });
    assert.equal(status, 400);
    assert.match(body, /Last-Event-Id/i);
  }
});

// case: CL9
test('answers before the body when the request will be refused, without 100 Continue', async () => {
  const expects = ['Expect: 100-continue', JSON_TYPE];
  const announced = async (bytes: number, fields: readonly string[], line = 'POST /mcp', host = '127.0.0.1') => {
    using connection = new RawConnection(hub.port);
    const head = [`${line} HTTP/1.1`, `Host: ${host}`, ...fields, `Content-Length: ${bytes}`];
    connection.send(`${head.join('\r\n')}\r\n\r\n`);
    await connection.has(/\}$/);
    return connection;
  };
  for (const [status, answer] of [
    [413, announced(5 * 1024 * 1024, [key, ...expects])],
    [413, announced(5 * 1024 * 1024, [key, JSON_TYPE])],
    [413, announced(5 * 1024 * 1024, [key, ...expects], 'POST /messages?sessionId=1-AAAAAAAAAAAAAAAAAAAAAA')],
    [401, announced(100, expects)],
    [403, announced(100, [key, ...expects], 'POST /mcp', 'evil.example')],
    [404, announced(100, [key, ...expects], 'POST /none')],
    [404, announced(100, [key, ...expects], 'POST /mcp/none')],
    [404, announced(100, [key, ...expects], 'POST /mcp/fault/mcp')],
    [405, announced(100, [key, ...expects], 'PUT /mcp')],
    [415, announced(100, [key, 'Expect: 100-continue', 'Content-Type: text/plain'])],
    [415, announced(100, [key, ...expects, 'Content-Encoding: gzip'])],
    [400, announced(100, [key, ...expects, 'Mcp-Session-Id: a, b'])],
  ] as const) {
    const { statuses, text } = await answer;
    assert.deepEqual(statuses, [status], text);
  }
  const { status } = await sendLines(hub.port, {
    line: 'POST /mcp',
    fields: [key, ...expects],
    body: PING,
  });
  assert.equal(status, 200);
});

// case: CL10
test('refuses a body with a content coding with 415 and says what it takes', async () => {
  for (const path of ['/mcp', '/mcp/fault', '/messages?sessionId=1-AAAAAAAAAAAAAAAAAAAAAA', '/api/keys'])
    for (const coding of ['gzip', 'GZIP', 'x-gzip', 'br', 'zstd', 'deflate', 'gzip, identity']) {
      for (const body of [gzipSync(PING), PING]) {
        const fields = [JSON_TYPE, `Content-Encoding: ${coding}`];
        const answer = await post(fields, body, path);
        assert.equal(answer.status, 415, `${path} ${coding}`);
        assert.equal(answer.headers['accept-encoding'], 'identity');
        assert.match(answer.body, /Content-Encoding/);
      }
    }
  for (const coding of ['identity', 'Identity', ''])
    assert.equal((await post([JSON_TYPE, `Content-Encoding: ${coding}`], PING)).status, 200, coding);
});

// case: CL1
test('opens a stream only for a client whose Accept names event streams with a weight above 0', async () => {
  const call = JSON.stringify({
    ...{ jsonrpc: '2.0', id: 7, method: 'tools/call' },
    params: { name: 'fault_report', arguments: { text: 'x', steps: 2, ms: 1 }, _meta: { progressToken: 1 } },
  });
  const typeFor = async (accept: readonly string[]): Promise<string> =>
    (await post([JSON_TYPE, ...accept.map((value) => `Accept: ${value}`)], call)).headers['content-type'] ?? '';
  for (const accept of [
    ['application/json, text/event-stream'],
    ['application/json', 'text/event-stream'],
    ['Application/JSON;q=0.5,TEXT/EVENT-STREAM;q=0.1'],
    ['text/event-stream, text/event-stream,'],
  ])
    assert.match(await typeFor(accept), /^text\/event-stream/, String(accept));
  for (const accept of [['application/json'], ['*/*'], ['application/json, text/event-stream;q=0'], []])
    assert.equal(await typeFor(accept), 'application/json', String(accept));
});
