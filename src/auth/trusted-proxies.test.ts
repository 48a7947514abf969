import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createTrustedProxies } from './trusted-proxies.ts';

const settings = { trustedProxies: ['10.0.0.5', '192.168.0.0/16', 'fd00::/8'] };
const proxies = createTrustedProxies(() => settings);

test('recognises a trusted proxy by address or network, also written as IPv6', () => {
  for (const address of ['10.0.0.5', '::ffff:10.0.0.5', '192.168.7.1', 'fd00::1', 'fdff::2'])
    assert.equal(proxies.has(address), true, address);
  for (const address of ['10.0.0.6', '127.0.0.1', '::1', 'fe80::1', '', undefined])
    assert.equal(proxies.has(address), false, String(address));
});

test('applies a change of the setting at once', () => {
  let trustedProxies: readonly string[] = [];
  const changing = createTrustedProxies(() => ({ trustedProxies }));
  assert.equal(changing.has('10.0.0.5'), false);
  trustedProxies = ['10.0.0.5'];
  assert.equal(changing.has('10.0.0.5'), true);
  trustedProxies = [];
  assert.equal(changing.has('10.0.0.5'), false);
});

test('ignores forwarding headers of other peers', () => {
  const headers = { 'x-forwarded-for': '203.0.113.9', forwarded: 'for=203.0.113.9' };
  assert.equal(proxies.clientBehind('203.0.113.1', headers), undefined);
  assert.equal(proxies.clientBehind('10.0.0.5', headers), '203.0.113.9');
});

test('takes the last address that is not a trusted proxy as the client, because earlier ones may be forged', () => {
  const behind = (list: string) => proxies.clientBehind('10.0.0.5', { 'x-forwarded-for': list });
  assert.equal(behind('1.1.1.1, 203.0.113.9'), '203.0.113.9');
  assert.equal(behind('1.1.1.1, 203.0.113.9, 192.168.0.2'), '203.0.113.9');
  assert.equal(behind('1.1.1.1,203.0.113.9:4711'), '203.0.113.9');
  assert.equal(behind('[2001:db8::1]:80'), '2001:db8::1');
  assert.equal(behind('2001:db8::1'), '2001:db8::1');
  for (const none of ['', 'unknown', '203.0.113.9, _hidden', '192.168.0.2', 'x'.repeat(5000)])
    assert.equal(behind(none), undefined, none.slice(0, 40));
});

test('uses the header Forwarded when X-Forwarded-For is missing', () => {
  const behind = (forwarded: string) => proxies.clientBehind('10.0.0.5', { forwarded });
  assert.equal(behind('for=203.0.113.9;proto=https'), '203.0.113.9');
  assert.equal(behind('for=1.1.1.1, proto=https;For="[2001:db8::1]:80"'), '2001:db8::1');
  assert.equal(behind('for="_hidden"'), undefined);
});

// finding: SR-A7
test('ignores two headers that end with different addresses, because the proxy has written only one of them', () => {
  const peer = '10.0.0.5';
  const forwarded = 'for=203.0.113.9';
  assert.equal(proxies.clientBehind(peer, { 'x-forwarded-for': '198.51.100.1', forwarded }), undefined);
  assert.equal(proxies.clientBehind(peer, { 'x-forwarded-for': 'a, b', forwarded: '' }), undefined);
  assert.equal(proxies.clientBehind(peer, { 'x-forwarded-for': '1.1.1.1, 203.0.113.9', forwarded }), '203.0.113.9');
  const ipv6 = { 'x-forwarded-for': '2001:DB8::1', forwarded: 'for="[2001:db8::1]:47011"' };
  assert.equal(proxies.clientBehind(peer, ipv6), '2001:db8::1');
});
