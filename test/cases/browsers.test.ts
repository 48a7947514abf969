/**
 * What web pages, desktop apps and extensions need from the hub, and what pages that are not allowed do not get.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { limitsFrom } from '../../src/config/limits.ts';
import { sendLines } from '../support/header-lines.ts';
import { CLI, cleanEnv, type RunningHub, startHub } from '../support/hub.ts';
import { rawExchange } from '../support/raw-client.ts';

const ALLOWED = ['app://obsidian.md', 'vscode-webview://*', 'https://*.example.com', 'tauri://localhost'];
/** Origins that are allowed at the hub of these tests; the last ones are pages of this machine. */
const PAGES = [
  ...['app://obsidian.md', 'vscode-webview://1ab2', 'https://a.b.example.com', 'tauri://localhost'],
  ...['http://localhost:6274', 'http://localhost.', 'http://[::1]:1'],
];
const FOREIGN = [
  ...[
    'null',
    'file://',
    'https://example.com',
    'https://evilexample.com',
    'https://a.example.com:8443',
    'app://evil.md',
  ],
  ...[
    'capacitor://localhost',
    'http://a.example.com',
    'https://a.example.com.evil.example',
    'app://obsidian.md, app://obsidian.md',
  ],
];
const PING = '{"jsonrpc":"2.0","id":7,"method":"ping"}';

let hub: RunningHub;
before(async () => {
  hub = await startHub({
    config: { mcpServers: {}, settings: { allowedOrigins: ALLOWED } },
    env: { MCPHUB_ADDRESS_PER_SECOND: '1', MCPHUB_REQUEST_MS: '1000', MCPHUB_HEADERS_MS: '1000' },
  });
});
after(async () => {
  await hub?.[Symbol.asyncDispose]();
});

function send(line: string, origin: string, fields: readonly string[] = [], body?: string) {
  const all = [`Origin: ${origin}`, ...fields];
  return sendLines(hub.port, body === undefined ? { line, fields: all } : { line, fields: all, body });
}

// case: CL5
test('serves pages and apps whose origin is allowed by name or wildcard, and no others', async () => {
  const own = [`Authorization: Bearer ${hub.key}`, 'Content-Type: application/json'];
  for (const origin of PAGES) {
    const { status, headers, body } = await send('POST /mcp', origin, own, PING);
    assert.equal(status, 200, `${origin}: ${body}`);
    assert.equal(headers['access-control-allow-origin'], origin);
    assert.equal(headers.vary, 'Origin');
  }
  for (const origin of FOREIGN)
    for (const line of ['POST /mcp', 'OPTIONS /mcp', 'GET /']) {
      const { status, headers } = await send(line, origin, own);
      assert.equal(status, 403, `${line} ${origin}`);
      assert.equal(headers['access-control-allow-origin'], undefined, origin);
      assert.equal(headers.vary, 'Origin');
    }
});

// case: CL6, CL7
test('allows in a preflight the headers of both eras and those that the page asks for', async () => {
  const asked = 'mcp-method,mcp-name,mcp-param-city,traceparent,x-custom-header';
  const fields = ['Access-Control-Request-Method: POST', `Access-Control-Request-Headers: ${asked}`];
  for (const path of ['/mcp', '/mcp/demo', '/sse', '/messages', '/health', '/api/health', '//mcp'])
    for (const origin of PAGES) {
      const { status, headers } = await send(`OPTIONS ${path}`, origin, fields);
      assert.equal(status, 204, `${path} ${origin}`);
      assert.equal(headers['access-control-allow-origin'], origin);
      const names = headers['access-control-allow-headers']?.split(', ') ?? [];
      for (const name of [...asked.split(','), 'authorization', 'mcp-session-id', 'last-event-id', 'content-type'])
        assert.ok(names.includes(name), `${path} ${name}`);
      assert.match(headers['access-control-allow-methods'] ?? '', /POST.*DELETE/);
      assert.match(headers.vary ?? '', /^Origin, .*Access-Control-Request-Headers/);
    }
});

// case: CL7
test('lets an allowed page read errors, their headers and the health pages', async () => {
  const own = [`Authorization: Bearer ${hub.key}`, 'Content-Type: application/json'];
  const errors: readonly [number, string, readonly string[]][] = [
    [401, 'POST /mcp', []],
    [400, 'GET /mcp', [...own, 'Mcp-Session-Id: a, b']],
    [404, 'POST /mcp', [...own, 'Mcp-Session-Id: none']],
    [404, 'POST /mcp/none', own],
    [404, 'GET /.well-known/oauth-protected-resource', []],
    [405, 'PUT /mcp', own],
    [405, 'PUT /health', []],
    [415, 'POST /mcp', [...own, 'Content-Encoding: gzip']],
  ];
  for (const [status, line, fields] of errors) {
    const body = line.startsWith('POST') ? PING : undefined;
    const answer = await send(line, 'app://obsidian.md', fields, body);
    assert.equal(answer.status, status, `${line}: ${answer.body}`);
    assert.equal(answer.headers['access-control-allow-origin'], 'app://obsidian.md', line);
    for (const name of ['Mcp-Session-Id', 'MCP-Protocol-Version', 'Retry-After', 'WWW-Authenticate'])
      assert.ok(answer.headers['access-control-expose-headers']?.includes(name), `${line} ${name}`);
  }
  for (const path of ['/health', '/healthz', '/livez', '/readyz', '/startupz', '/health/live', '/api/health']) {
    const page = await send(`GET ${path}`, 'app://obsidian.md');
    assert.equal(page.headers['access-control-allow-origin'], 'app://obsidian.md', path);
  }
  const foreign = await send('GET /health', 'https://evil.example');
  assert.equal(foreign.status, 200, 'monitors are answered whatever they send');
  assert.equal(foreign.headers['access-control-allow-origin'], undefined);
});

// case: CL7
test('lets an allowed page, and no other, read refusals that come before its request has been routed', async () => {
  const head = (...more: string[]): string =>
    ['POST /mcp HTTP/1.1', 'Host: localhost', `Authorization: Bearer ${hub.key}`, 'Content-Type: application/json']
      .concat(more)
      .join('\r\n');
  // With the four lines above one more than is allowed.
  const many = Array.from({ length: limitsFrom({}).headers - 3 }, (_, at) => `X-${at}: 1`);
  const forms: readonly [number, readonly string[], string][] = [
    [400, ['Transfer-Encoding: chunked'], 'no chunk\r\n'],
    [408, ['Content-Length: 100'], '{'],
    [417, ['Expect: tea', 'Content-Length: 0'], ''],
    [431, many, ''],
    [413, [`Content-Length: ${2 ** 40}`], '{'],
  ];
  for (const [status, fields, body] of forms)
    for (const [origin, isAllowed] of [
      ['app://obsidian.md', true],
      ['http://localhost:6274', true],
      ['https://evil.example', false],
    ] as const) {
      const text = `${head(`Origin: ${origin}`, ...fields)}\r\n\r\n`;
      const { answers } = await rawExchange({ port: hub.port }, [text, body], { gapMs: 50 });
      // A page that is not allowed is refused before its body is read.
      const expected = !isAllowed && [400, 408, 413].includes(status) ? 403 : status;
      assert.equal(answers[0]?.status, expected, `${status} ${origin}`);
      assert.equal(answers[0]?.headers.vary, 'Origin', `${status} ${origin}`);
      const named = answers[0]?.headers['access-control-allow-origin'];
      assert.equal(named, isAllowed ? origin : undefined, `${status} ${origin}`);
      assert.equal(JSON.parse(answers[0]?.body ?? '').id, null);
    }
});

// case: CL7
test('lets an allowed page read that it is too fast, and when to come back', async () => {
  const answers = await Promise.all(Array.from({ length: 10 }, () => send('POST /mcp', 'app://obsidian.md', [], PING)));
  const late = answers.filter(({ status }) => status === 429);
  assert.ok(late.length > 0, 'some are refused');
  for (const { headers } of late) {
    assert.equal(headers['access-control-allow-origin'], 'app://obsidian.md');
    assert.ok(Number(headers['retry-after']) > 0);
  }
});

// case: CL5
test('does not start with an origin that can never match, from the file or the environment, and says why', () => {
  const dir = mkdtempSync(join(tmpdir(), 'mcphub-origins-'));
  try {
    const file = join(dir, 'mcp_settings.json');
    const check = (origins: readonly string[], env: Record<string, string> = {}) => {
      writeFileSync(file, JSON.stringify({ mcpServers: {}, settings: { allowedOrigins: origins } }));
      const args = [CLI, 'config', 'validate', file];
      return spawnSync(process.execPath, args, { encoding: 'utf8', env: { ...cleanEnv(), ...env } });
    };
    const refused = check(['null', 'file://', 'https://ex*.com', 'hub.example.com', 'https://*', ...ALLOWED]);
    assert.notEqual(refused.status, 0);
    const said = refused.stdout + refused.stderr;
    for (let at = 0; at < 5; at += 1) assert.match(said, new RegExp(`allowedOrigins\\[${at}\\]`));
    assert.doesNotMatch(said, /allowedOrigins\[5\]/);
    assert.match(said, /pages of any origin can send "null"/);
    const variable = check([], { MCPHUB_ALLOWED_ORIGINS: 'app://obsidian.md,null' });
    assert.notEqual(variable.status, 0);
    assert.match(variable.stdout + variable.stderr, /MCPHUB_ALLOWED_ORIGINS.*"null"/);
    assert.equal(check(ALLOWED, { MCPHUB_ALLOWED_ORIGINS: ALLOWED.join(', ') }).status, 0);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
});
