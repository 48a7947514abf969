/**
 * Hosts and targets as clients and proxies spell them: final dots, HTTP/1.0 without Host, the absolute form, repeated
 * slashes, prefixes.
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { SSEClientTransport } from '@modelcontextprotocol/sdk/client/sse.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { type Lines, sendLines } from '../support/header-lines.ts';
import type { RunningHub } from '../support/hub.ts';
import { startReadyHub } from '../support/journal.ts';
import { startNginx } from '../support/nginx.ts';
import { faultServer } from '../support/real-servers.ts';
import { Reading } from '../support/sse-client.ts';
import { joinV1, textOf } from '../support/users.ts';

const LIST = '{"jsonrpc":"2.0","id":7,"method":"tools/list"}';

let hub: RunningHub;
let own: readonly string[] = [];
before(async () => {
  hub = await startReadyHub({
    mcpServers: { fault: faultServer('normal') },
    groups: { open: { servers: ['fault'], access: 'anonymous' } },
    settings: { allowedHosts: ['hub.example.com.', 'mcphub'] },
  });
  own = [`Authorization: Bearer ${hub.key}`, 'Content-Type: application/json'];
});
after(async () => {
  await hub?.[Symbol.asyncDispose]();
});

async function statusOf(lines: Partial<Lines>): Promise<number> {
  return (await sendLines(hub.port, { line: 'POST /mcp', fields: own, body: LIST, ...lines })).status;
}

// case: CL4
test('takes a host name with and without its final dot, in the request and in the settings', async () => {
  for (const host of ['localhost.', 'localhost.:3000', 'foo.localhost.', '127.0.0.1.', 'mcphub.', 'MCPHub.:3000'])
    assert.equal(await statusOf({ host }), 200, host);
  for (const host of ['hub.example.com', 'hub.example.com.', 'hub.example.com.:443'])
    assert.equal(await statusOf({ host }), 200, host);
  for (const origin of ['http://localhost.', 'http://localhost.:6274', 'https://hub.example.com.'])
    assert.equal(await statusOf({ fields: [...own, `Origin: ${origin}`] }), 200, origin);
  for (const host of ['.', 'localhost..', 'evil.example.', 'localhost.evil.example.', '127.0.0.1.evil.example.'])
    assert.equal(await statusOf({ host }), 403, host);
});

// case: CL4
test('serves HTTP/1.0 without Host, but not as a program of this machine', async () => {
  for (const host of [null, '', 'localhost']) {
    assert.equal(await statusOf({ version: '1.0', host }), 200, String(host));
    const anonymous = { fields: ['Content-Type: application/json'], line: 'POST /mcp/open', host };
    assert.equal(await statusOf({ ...anonymous, version: '1.0' }), 401, String(host));
  }
  assert.equal(await statusOf({ version: '1.0', host: 'evil.example' }), 403);
  assert.equal(await statusOf({ version: '1.0', host: null, fields: [...own, 'Origin: https://evil.example'] }), 403);
  assert.equal(await statusOf({ host: null }), 400, 'HTTP/1.1 needs Host');
  const empty = await sendLines(hub.port, { line: 'POST /mcp', host: '', fields: own, body: LIST });
  assert.equal(empty.status, 403);
  assert.doesNotMatch(empty.body, /allowedHosts/);
});

// case: CL17
test('serves absolute targets, whose authority is checked as Host', async () => {
  const at = `http://127.0.0.1:${hub.port}`;
  for (const path of ['/mcp', '/mcp/fault', '/mcp/?x=1', '//mcp'])
    for (const host of ['127.0.0.1', 'hub.example.com', 'other.example'])
      assert.equal(await statusOf({ line: `POST ${at}${path}`, host }), 200, `${path} ${host}`);
  for (const path of ['/health', '/readyz', '/', ''])
    assert.equal(await statusOf({ line: `GET ${at}${path}`, body: undefined }), 200, path);
  assert.equal(await statusOf({ line: 'POST HTTP://Hub.Example.com./mcp' }), 200);
  for (const target of ['http://evil.example/mcp', 'http://me@localhost/mcp', 'http:///mcp'])
    assert.equal(await statusOf({ line: `POST ${target}` }), 403, target);
  const anonymous = { fields: ['Content-Type: application/json'] };
  assert.equal(await statusOf({ ...anonymous, line: 'POST /mcp/open' }), 200);
  assert.equal(
    await statusOf({ ...anonymous, line: 'POST http://localhost/mcp/open' }),
    401,
    'no program of this machine',
  );
});

// case: CL17
test('merges repeated slashes where MCP and health are served, and nowhere else', async () => {
  for (const path of ['//mcp', '/mcp/', '/mcp//', '///mcp//fault', '/mcp/fault/', '/mcp/fault//'])
    assert.equal(await statusOf({ line: `POST ${path}` }), 200, path);
  for (const path of ['//health', '/health/', '/health//live', '//readyz/'])
    assert.equal(await statusOf({ line: `GET ${path}`, body: undefined }), 200, path);
  for (const path of ['//api/keys', '/api//keys', '//', '//metrics', '/mcp/../api/keys', '/../api/keys'])
    assert.equal(await statusOf({ line: `GET ${path}`, body: undefined }), 404, path);
});

// case: CL17
test('names the right path where one close to it is not served', async () => {
  for (const [path, right] of [
    ['/mcp/fault/mcp', '/mcp/fault?'],
    ['/sse/fault/x', '/sse/fault?'],
    ['/mcp/a/b/c', '/mcp/a?'],
    ['/MCP', '/mcp'],
    ['/mcp%2Ffault', '/mcp'],
    ['/mcp/none', '/mcp/<name>'],
  ] as const) {
    const { status, body } = await sendLines(hub.port, { line: `POST ${path}`, fields: own, body: LIST });
    assert.equal(status, 404, path);
    assert.ok(body.includes(right), `${path}: ${body}`);
  }
});

test('names the methods of a path in Allow', async () => {
  for (const [line, allow] of [
    ['PUT /mcp', 'GET, POST, DELETE'],
    ['GET /mcp', 'POST'],
    ['POST /sse', 'GET'],
    ['GET /messages', 'POST'],
    ['POST /health', 'GET, HEAD'],
  ] as const) {
    const { status, headers } = await sendLines(hub.port, { line, fields: own });
    assert.deepEqual([status, headers.allow], [405, allow], line);
  }
});

async function endpointAt(path: string, agent?: string): Promise<string> {
  const { request } = await import('node:http');
  const headers = { authorization: `Bearer ${hub.key}`, ...(agent === undefined ? {} : { 'user-agent': agent }) };
  const sent = request({ host: '127.0.0.1', port: hub.port, path, headers, agent: false });
  const reading = new Reading(sent);
  sent.end();
  await reading.hasMessages(1);
  reading.drop();
  return reading.messages[0] ?? '';
}

// case: CL18
test('names the endpoint of /sse relative to the address of the stream, whatever stands before it', async () => {
  for (const [path, endpoint] of [
    ['/sse', '/messages'],
    ['/sse/', '/messages'],
    ['//sse', '/messages'],
    ['/sse/fault', '/messages/fault'],
    ['/sse/fault/', '/messages/fault'],
    ['/sse//fault', '/messages/fault'],
  ] as const) {
    const reference = await endpointAt(path);
    for (const prefix of ['', '/tools', '/a/b']) {
      const { pathname } = new URL(reference, `http://hub.example.com${prefix}${path}`);
      assert.equal(pathname.replaceAll('//', '/'), prefix + endpoint, `${prefix}${path}: ${reference}`);
    }
  }
  assert.match(await endpointAt('/sse', 'Java-http-client/17.0.9'), /^\/messages\?/);
});

// case: CL18
test('serves official clients through nginx with a path prefix, by /mcp and by /sse', async () => {
  for (const http of ['', 'proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host;']) {
    await using nginx = await startNginx(hub.port, `proxy_buffering off; ${http}`, '/tools/');
    const at = `http://127.0.0.1:${nginx.port}/tools`;
    const requestInit = { headers: { Authorization: `Bearer ${hub.key}` } };
    const transports = [
      new SSEClientTransport(new URL(`${at}/sse`), { requestInit }),
      new SSEClientTransport(new URL(`${at}/sse/fault`), { requestInit }),
      new StreamableHTTPClientTransport(new URL(`${at}/mcp`), { requestInit }),
    ];
    for (const transport of transports) {
      const user = await joinV1(transport);
      assert.equal(textOf(await user.can.call('fault_echo', { text: 'prefix' })), 'prefix');
      await user.client.close();
    }
  }
});

// case: CL1
test('serves an official client whose settings set MCP-Protocol-Version as well, directly and through nginx', async () => {
  await using nginx = await startNginx(hub.port, 'proxy_buffering off;', '/tools/');
  for (const at of [hub.url, `http://127.0.0.1:${nginx.port}/tools`])
    for (const version of ['2025-11-25', '2025-06-18', '2026-07-28']) {
      const headers = { Authorization: `Bearer ${hub.key}`, 'MCP-Protocol-Version': version };
      const user = await joinV1(new StreamableHTTPClientTransport(new URL(`${at}/mcp`), { requestInit: { headers } }));
      assert.equal(textOf(await user.can.call('fault_echo', { text: version })), version);
      await user.client.close();
    }
});
