/**
 * The official SDK of 2026-07-28 in a page of Chromium, at an origin that the settings allow: connect, list, call,
 * progress, cancel.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join, normalize } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { ROOT, type RunningHub, until } from '../support/hub.ts';
import { startReadyHub } from '../support/journal.ts';
import { faultServer } from '../support/real-servers.ts';
import type { Loose } from '../support/users.ts';

/** No page of this machine as the hub sees it: it must be allowed by name. */
const PAGE_HOST = '127.0.0.2';
const MODES = ['auto', 'legacy', 'pin'] as const;

/** Where the page finds the modules of the SDK, as a browser's bundler would. */
function importMap(): string {
  const served = (specifier: string): string => fileURLToPath(import.meta.resolve(specifier)).slice(ROOT.length);
  const client = served('@modelcontextprotocol/client');
  const names = [
    'zod/v4',
    '@modelcontextprotocol/core/internal',
    'eventsource',
    'eventsource-parser',
    'eventsource-parser/stream',
  ];
  return JSON.stringify({
    imports: {
      ...Object.fromEntries(names.map((name) => [name, served(name)])),
      '@modelcontextprotocol/client': client,
      '@modelcontextprotocol/client/_shims': client.replace('index.mjs', 'shimsBrowser.mjs'),
      'pkce-challenge': '/node_modules/pkce-challenge/dist/index.browser.js',
    },
  });
}

/** Runs in the page; what it returns is posted to the page's own server. */
async function walk({
  url,
  key,
  modes,
  sdk,
}: {
  url: string;
  key: string;
  modes: readonly string[];
  sdk: string;
}): Promise<Record<string, unknown>> {
  const { Client, StreamableHTTPClientTransport } = await import(sdk);
  const seen: Record<string, unknown> = {};
  for (const mode of modes) {
    const negotiation = mode === 'pin' ? { pin: '2026-07-28' } : mode;
    const client = new Client({ name: 'page', version: '1' }, { versionNegotiation: { mode: negotiation } });
    const headers = {
      Authorization: `Bearer ${key}`,
      'X-Custom-Header': 'page',
      traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
    };
    const posts: Promise<unknown>[] = [];
    const counted = (input: string | URL, init?: RequestInit): Promise<Response> => {
      const answer = fetch(input, init);
      if (init?.method === 'POST') posts.push(answer.catch(() => undefined));
      return answer;
    };
    const transport = new StreamableHTTPClientTransport(new URL(`${url}/mcp`), {
      fetch: counted,
      requestInit: { headers },
    });
    await client.connect(transport);
    const { tools } = await client.listTools();
    const { content } = await client.callTool({ name: 'fault_echo', arguments: { text: mode } });
    const progress: number[] = [];
    await client.callTool(
      { name: 'fault_report', arguments: { text: 'x', steps: 3, ms: 20 } },
      { onprogress: (step: { progress: number }) => progress.push(step.progress) },
    );
    const abort = new AbortController();
    const endless = { name: 'fault_report', arguments: { text: 'x', steps: 100_000, ms: 20 } };
    const cancelled = await client
      .callTool(endless, { signal: abort.signal, onprogress: () => abort.abort('enough') })
      .then(
        () => 'answered',
        () => 'cancelled',
      );
    // Closing aborts every open request, also the POST of a cancel that the browser has not sent yet.
    await Promise.all(posts);
    await client.close();
    seen[mode] = { tools: tools.length, text: content[0].text, progress, cancelled };
  }
  const refused = await fetch(`${url}/mcp`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: '{}',
  });
  seen.refused = [
    refused.status,
    refused.headers.get('www-authenticate'),
    ((await refused.json()) as Loose).error.code,
  ];
  const health = await fetch(`${url}/health`, { headers: { 'x-custom-header': '1' } });
  seen.health = ((await health.json()) as Loose).status;
  return seen;
}

async function startPage(html: () => string, done: (text: string) => void): Promise<Server> {
  const server = createServer((request, response) => {
    if (request.method === 'POST') {
      let text = '';
      request.on('data', (chunk) => {
        text += chunk;
      });
      request.on('end', () => {
        response.end();
        done(text);
      });
      return;
    }
    const path = normalize(request.url ?? '/');
    if (path === '/') return void response.writeHead(200, { 'content-type': 'text/html' }).end(html());
    if (!path.startsWith('/node_modules/')) return void response.writeHead(404).end();
    try {
      response.writeHead(200, { 'content-type': 'text/javascript' }).end(readFileSync(join(ROOT, path)));
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise<void>((resolve) => server.listen(0, PAGE_HOST, resolve));
  return server;
}

async function callsInFlight(hub: RunningHub): Promise<number> {
  const answer = await fetch(`${hub.url}/api/ceilings`, { headers: { Authorization: `Bearer ${hub.key}` } });
  const { ceilings } = (await answer.json()) as Loose;
  return ceilings.find(({ name }: Loose) => name === 'call.in-flight').size;
}

// case: CL5, CL6, CL7
test('serves the official SDK in a page of an allowed origin, in both eras', async () => {
  await using hub = await startReadyHub({
    mcpServers: { fault: faultServer('normal') },
    settings: { allowedOrigins: [`http://${PAGE_HOST}:*`] },
  });
  const given = { url: hub.url, key: hub.key, modes: MODES, sdk: '@modelcontextprotocol/client' };
  const html = () => `<!doctype html><script type="importmap">${importMap()}</script><script type="module">
    const post = (value) => fetch('/done', { method: 'POST', body: JSON.stringify(value) });
    (${walk})(${JSON.stringify(given)}).then(post, (fault) => post({ fault: String(fault), stack: fault?.stack }));
  </script>`;
  let said = '';
  const page = await startPage(html, (text) => {
    said = text;
  });
  const profile = mkdtempSync(join(tmpdir(), 'mcphub-chromium-'));
  const args = ['--headless=new', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--no-first-run'];
  const { port } = page.address() as AddressInfo;
  const browser = spawn('chromium', [...args, `--user-data-dir=${profile}`, `http://${PAGE_HOST}:${port}/`], {
    stdio: 'ignore',
    detached: true,
  });
  try {
    await until(() => said !== '', 60_000, 'what the page has seen');
  } finally {
    // Its helpers are in its group.
    if (browser.pid !== undefined) process.kill(-browser.pid, 'SIGKILL');
    await new Promise((resolve) => browser.once('close', resolve));
    page.close();
    page.closeAllConnections();
    rmSync(profile, { recursive: true, force: true, maxRetries: 10 });
  }
  const seen = JSON.parse(said);
  assert.equal(seen.fault, undefined, said);
  for (const mode of MODES) {
    assert.ok(seen[mode].tools > 5, said);
    assert.deepEqual(
      { text: seen[mode].text, progress: seen[mode].progress, cancelled: seen[mode].cancelled },
      { text: mode, progress: [1, 2, 3], cancelled: 'cancelled' },
    );
  }
  await until(async () => (await callsInFlight(hub)) === 0, 10_000, 'no call in flight');
  assert.deepEqual(seen.refused, [401, 'Bearer', -32001]);
  assert.equal(seen.health, 'ok');
});
