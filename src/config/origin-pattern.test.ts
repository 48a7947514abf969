import assert from 'node:assert/strict';
import { test } from 'node:test';
import { matchesOrigin, parseOrigin, readOriginPattern } from './origin-pattern.ts';

function read(text: string): string {
  const pattern = readOriginPattern(text);
  return 'value' in pattern ? pattern.value : `refused: ${pattern.expected}`;
}

function matches(text: string, origin: string): boolean {
  const from = parseOrigin(origin);
  return from !== undefined && matchesOrigin(read(text), from);
}

// case: CL5
test('reads origins of web sites, apps and extensions, and wildcards, as browsers send them', () => {
  const same = [
    '*',
    'https://hub.example.com',
    'http://localhost:6274',
    'http://localhost:*',
    'https://*.example.com',
    'https://*.example.com:8443',
    'https://*.example.com:*',
    'http://[::1]:5173',
    'app://obsidian.md',
    'app://.',
    'tauri://localhost',
    'vscode-webview://*',
    'chrome-extension://abcdefghijklmnop',
    'moz-extension://6b2b2a4e-0000-4000-8000-000000000000',
    'capacitor://localhost',
    'ionic://localhost:8100',
  ];
  for (const text of same) assert.equal(read(text), text);
  const changed: readonly [string, string][] = [
    ['HTTPS://Hub.Example.COM/', 'https://hub.example.com'],
    ['https://hub.example.com:443', 'https://hub.example.com'],
    ['http://hub.example.com:80', 'http://hub.example.com'],
    ['https://hub.example.com.', 'https://hub.example.com'],
    ['https://bücher.example', 'https://xn--bcher-kva.example'],
    ['http://[0:0::1]', 'http://[::1]'],
    ['App://Obsidian.md', 'app://obsidian.md'],
  ];
  for (const [text, expected] of changed) assert.equal(read(text), expected, text);
});

// case: CL5
test('refuses an entry that no request can match, and says what is meant instead', () => {
  const refused: readonly [string, RegExp][] = [
    ['null', /pages of any origin can send "null"/],
    ['NULL', /pages of any origin/],
    ['file://', /files have no origin/],
    ['file:///home/me', /files have no origin/],
    ['', /scheme, host and port/],
    ['hub.example.com', /scheme, host and port/],
    ['localhost:3000', /scheme, host and port/],
    ['https://', /scheme, host and port/],
    ['app://', /scheme, host and port/],
    ['https://hub.example.com/path', /scheme, host and port/],
    ['https://hub.example.com?x', /scheme, host and port/],
    ['https://me@hub.example.com', /scheme, host and port/],
    ['https://a.example, https://b.example', /scheme, host and port/],
    ['https://hub.example.com:x', /scheme, host and port/],
    ['*://hub.example.com', /scheme, host and port/],
    ['data:text/html,x', /scheme, host and port/],
    ['https://*', /one "\*"/],
    ['http://*:3000', /one "\*"/],
    ['https://ex*.com', /one "\*"/],
    ['https://*example.com', /one "\*"/],
    ['https://a.*.com', /one "\*"/],
    ['https://*.*.com', /one "\*"/],
    ['https://*.', /one "\*"/],
    ['https://*.127.0.0.1', /one "\*"/],
    ['https://exa mple.com', /scheme, host and port/],
    ['https://ex%zz.com', /one "\*"/],
    ['app://a*', /one "\*"/],
  ];
  for (const [text, expected] of refused) assert.match(read(text), expected, text);
  assert.ok(read(`https://${'a'.repeat(400)}.example`).startsWith('refused'));
});

// case: CL5
test('matches scheme, host and port, wildcards on label borders only', () => {
  const yes: readonly [string, string][] = [
    ['app://obsidian.md', 'app://obsidian.md'],
    ['vscode-webview://*', 'vscode-webview://1ab2c3d4'],
    ['http://localhost:*', 'http://localhost'],
    ['http://localhost:*', 'http://localhost:6274'],
    ['https://*.example.com', 'https://a.example.com'],
    ['https://*.example.com', 'https://a.b.example.com'],
    ['https://*.example.com', 'https://a.example.com.'],
    ['https://*.example.com:*', 'https://a.example.com:8443'],
    ['https://hub.example.com', 'https://hub.example.com:443'],
    ['safari-web-extension://abc', 'safari-web-extension://ABC'],
  ];
  for (const [text, origin] of yes) assert.ok(matches(text, origin), `${text} ${origin}`);
  const no: readonly [string, string][] = [
    ['app://obsidian.md', 'app://other.md'],
    ['app://obsidian.md', 'https://obsidian.md'],
    ['vscode-webview://*', 'vscode-file://1ab2c3d4'],
    ['http://localhost:*', 'https://localhost:6274'],
    ['http://localhost:*', 'http://localhost.evil.example:6274'],
    ['http://localhost:*', 'http://evil-localhost:1'],
    ['https://*.example.com', 'https://example.com'],
    ['https://*.example.com', 'https://.example.com'],
    ['https://*.example.com', 'https://evilexample.com'],
    ['https://*.example.com', 'https://a.example.com.evil.example'],
    ['https://*.example.com', 'https://a.example.com:8443'],
    ['https://*.example.com', 'http://a.example.com'],
    ['https://hub.example.com', 'https://hub.example.com/'],
    ['https://hub.example.com', 'https://me@hub.example.com'],
    ['https://hub.example.com', 'https://hub.example.com, https://hub.example.com'],
    ['app://obsidian.md', 'null'],
    ['vscode-webview://*', 'null'],
    ['vscode-webview://*', 'vscode-webview://'],
    ['http://localhost:*', 'file://'],
  ];
  for (const [text, origin] of no) assert.ok(!matches(text, origin), `${text} ${origin}`);
});
