import assert from 'node:assert/strict';
import type { IncomingMessage } from 'node:http';
import { test } from 'node:test';
import { isProxied } from './request-context.ts';
import { readTarget } from './request-target.ts';

function read(url: string, host = '127.0.0.1') {
  const request = { url, headers: { host }, httpVersionMajor: 1, httpVersionMinor: 1 } as unknown as IncomingMessage;
  const { path, query } = readTarget(request);
  return { path, query, url: request.url, host: request.headers.host, isProxied: isProxied(request) };
}

// case: CL17
test('merges repeated slashes of the paths of MCP and health', () => {
  const merged: readonly [string, string][] = [
    ['//mcp', '/mcp'],
    ['///mcp//demo//', '/mcp/demo/'],
    ['/mcp//', '/mcp/'],
    ['//sse', '/sse'],
    ['/sse//demo', '/sse/demo'],
    ['//messages', '/messages'],
    ['//health', '/health'],
    ['/health/', '/health'],
    ['/health//live/', '/health/live'],
    ['//readyz//', '/readyz'],
    ['/../messages/demo', '/messages/demo'],
  ];
  for (const [url, path] of merged) {
    assert.equal(read(url).path, path, url);
    assert.equal(read(`${url}?x=//y`).url, `${path}?x=//y`);
  }
});

test('leaves every other path as it is spelled: a proxy may guard it by its spelling', () => {
  const kept = [
    '//api/keys',
    '/api//keys',
    '//metrics',
    '//',
    '/../api/keys',
    '/mcpx//',
    '//mcpx',
    '/health/other//',
    '*',
  ];
  for (const url of kept) assert.equal(read(url).path, url);
});

// case: CL17
test('takes the authority of an absolute target for Host, and never for a program of this machine', () => {
  const { path, query, host, isProxied: isFar } = read('http://localhost:3000/mcp?x=1', 'evil.example');
  assert.deepEqual({ path, query, host, isFar }, { path: '/mcp', query: '?x=1', host: 'localhost:3000', isFar: true });
  assert.equal(read('HTTPS://hub.example.com').path, '/');
  assert.equal(read('http://hub.example.com?x').url, '/?x');
  assert.equal(read('http:///mcp').host, '');
  assert.equal(read('http://me@localhost/mcp').host, 'me@localhost');
  assert.equal(read('ftp://localhost/mcp').path, 'ftp://localhost/mcp');
  assert.equal(read('/mcp').isProxied, false);
});
