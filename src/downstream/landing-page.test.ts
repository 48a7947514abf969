import assert from 'node:assert/strict';
import { test } from 'node:test';
import { landingPage, publicOrigin } from './landing-page.ts';

test('shows the address that the reader used, and localhost when the Host header holds anything else', () => {
  assert.equal(publicOrigin('hub.example.com', 'https', 1), 'https://hub.example.com');
  assert.equal(publicOrigin('[::1]:3000', undefined, 1), 'http://[::1]:3000');
  for (const host of [undefined, 'localhost', 'a"><b>', 'a b', 'x'.repeat(300), 'a/b']) {
    assert.equal(publicOrigin(host, undefined, 3001), 'http://localhost:3001');
  }
});

test('says how to connect, and escapes what it was given', () => {
  const page = landingPage('http://hub.test:3000', 'ready <b>');
  assert.ok(page.includes('http://hub.test:3000/mcp') && page.includes('mcp.json'));
  assert.ok(page.includes('ready &lt;b&gt;') && !page.includes('<b>') && !page.includes('<script'));
});
