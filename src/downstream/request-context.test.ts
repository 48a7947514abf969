import assert from 'node:assert/strict';
import type { IncomingMessage } from 'node:http';
import { test } from 'node:test';
import { isProxied } from './request-context.ts';

function sent(headers: Record<string, string>, httpVersionMinor = 1): boolean {
  const request = { headers: { host: 'localhost:3000', ...headers }, httpVersionMajor: 1, httpVersionMinor };
  return isProxied(request as unknown as IncomingMessage);
}

test('a request with what local clients send is local', () => {
  assert.equal(sent({ accept: '*/*', 'user-agent': 'x', 'mcp-session-id': 'a', 'content-length': '2' }), false);
  for (const host of ['127.0.0.1', '127.1.2.3:80', '[::1]:3000', 'app.localhost', 'LOCALHOST'])
    assert.equal(sent({ host }), false, host);
});

// finding: SR-M7
test('a request with a header that a proxy adds is not local', () => {
  const headers = [
    ...['via', 'forwarded', 'x-forwarded-for', 'x-forwarded-host', 'x-forwarded-proto', 'x-forwarded-port'],
    ...['x-real-ip', 'cf-connecting-ip', 'cf-ray', 'true-client-ip', 'x-client-ip', 'x-original-forwarded-for'],
  ];
  for (const name of headers) assert.equal(sent({ [name]: 'x' }), true, name);
});

// finding: SR-M7
test('a request by HTTP/1.0, or for a host that is not this machine, is not local', () => {
  assert.equal(sent({}, 0), true);
  for (const host of [
    'hub.example.com',
    '192.168.1.5:3000',
    '127.0.0.1.evil.example',
    '[::1]x',
    '',
    '127.evil.example',
  ])
    assert.equal(sent({ host }), true, host);
});
