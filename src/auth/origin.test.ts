import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isRefusal } from '../model/outcome.ts';
import { checkOrigin, type OriginRules } from './origin.ts';

const NONE: OriginRules = { allowedHosts: [], allowedOrigins: [] };

function verdict(host: string | undefined, origin?: string, rules: OriginRules = NONE): string {
  const outcome = checkOrigin({ host, origin }, rules);
  return isRefusal(outcome) ? outcome.code : 'fine';
}

test('accepts local names and literal addresses as Host, with and without a port', () => {
  const fine = [
    'localhost',
    'LOCALHOST:3000',
    'app.localhost:1',
    '127.0.0.1:3000',
    '[::1]:3000',
    '192.168.1.5',
    'host.docker.internal:3000',
  ];
  for (const host of fine) assert.equal(verdict(host), 'fine', host);
});

test('refuses any other Host, also one that only begins or ends like a local name', () => {
  const evil = [
    'evil.example',
    'localhost.evil.example:3000',
    'notlocalhost',
    '127.0.0.1.evil.example',
    '',
    ':3000',
    '[::1',
    '[evil]:80',
    '[::1]anything',
    '[::1]:80:80',
    '127.0.0.1:anything',
    '127.0.0.1:80@evil.example',
    'localhost:123456',
  ];
  for (const host of evil) assert.equal(verdict(host), 'host-refused', host);
  assert.equal(verdict(undefined), 'host-refused');
});

test('accepts allowed hosts, and any host with the star', () => {
  assert.equal(verdict('hub.example.com:443', undefined, { ...NONE, allowedHosts: ['hub.example.com'] }), 'fine');
  assert.equal(verdict('x.hub.example.com', undefined, { ...NONE, allowedHosts: ['hub.example.com'] }), 'host-refused');
  assert.equal(verdict('anything', undefined, { ...NONE, allowedHosts: ['*'] }), 'fine');
});

test('accepts a page of this machine and refuses one of another site', () => {
  for (const origin of ['http://localhost:6274', 'https://127.0.0.1', 'http://[::1]:5173', 'http://a.localhost'])
    assert.equal(verdict('localhost', origin), 'fine', origin);
  const foreign = [
    'https://evil.example',
    'null',
    'http://localhost.evil.example',
    'file://localhost',
    'http://192.168.1.5',
    '',
  ];
  for (const origin of foreign) assert.equal(verdict('localhost', origin), 'origin-refused', origin);
});

// finding: SR-L3
test('accepts an allowed host as Origin over TLS and at its own address, and at no other port', () => {
  const rules = { ...NONE, allowedHosts: ['hub.example.com'] };
  const fine = [
    ['hub.example.com', 'https://hub.example.com'],
    ['hub.example.com', 'http://hub.example.com'],
    ['hub.example.com:3000', 'http://hub.example.com:3000'],
    ['hub.example.com:8443', 'https://hub.example.com:8443'],
    ['127.0.0.1:3000', 'https://hub.example.com'],
  ];
  for (const [host, origin] of fine) assert.equal(verdict(host, origin, rules), 'fine', `${host} ${origin}`);
  const refused = [
    ['hub.example.com:3000', 'http://hub.example.com'],
    ['hub.example.com', 'http://hub.example.com:1234'],
    ['hub.example.com', 'https://hub.example.com:9999'],
    ['127.0.0.1:3000', 'http://hub.example.com:3000'],
  ];
  for (const [host, origin] of refused)
    assert.equal(verdict(host, origin, rules), 'origin-refused', `${host} ${origin}`);
});

test('matches allowed origins completely; accepts allowed hosts as origin too', () => {
  const rules = { allowedHosts: ['hub.example.com'], allowedOrigins: ['https://ui.example.com'] };
  assert.equal(verdict('hub.example.com', 'https://ui.example.com', rules), 'fine');
  assert.equal(verdict('hub.example.com', 'https://hub.example.com', rules), 'fine');
  assert.equal(verdict('hub.example.com', 'http://ui.example.com', rules), 'origin-refused');
  assert.equal(verdict('hub.example.com', 'https://ui.example.com:8443', rules), 'origin-refused');
  assert.equal(verdict('hub.example.com', 'https://anything', { ...rules, allowedOrigins: ['*'] }), 'fine');
});

// finding: SR-A15
test('refuses a request of another site’s page also when the browser sends no Origin', () => {
  const of = (fetchSite: string | undefined, rules: OriginRules = NONE, origin?: string) =>
    isRefusal(checkOrigin({ host: 'localhost', origin, fetchSite }, rules)) ? 'refused' : 'fine';
  for (const site of ['cross-site', 'same-site', 'anything']) assert.equal(of(site), 'refused', site);
  for (const site of [undefined, 'same-origin', 'none']) assert.equal(of(site), 'fine', site);
  assert.equal(of('cross-site', { ...NONE, allowedOrigins: ['*'] }), 'fine');
  // Its Origin is more specific.
  assert.equal(of('cross-site', NONE, 'http://localhost:5173'), 'fine');
});
