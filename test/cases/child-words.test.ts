// runs: in pairs
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { type RunningHub, startHub, until } from '../support/hub.ts';
import { callTool } from '../support/mcp.ts';

const folder = mkdtempSync(join(tmpdir(), 'child-words-'));
after(() => rmSync(folder, { recursive: true, force: true }));

function script(name: string, head: string): string {
  const file = join(folder, name);
  writeFileSync(file, `${head}\nexit 0\n`, { mode: 0o755 });
  return file;
}

const program = (code: string, more: object = {}): object => ({
  command: process.execPath,
  args: ['-e', code],
  ...more,
});

/** Answers all it is asked; exits at a line of more than 4096 bytes. */
const SHORT_LINES = `
require('node:readline').createInterface({ input: process.stdin }).on('line', (line) => {
  if (line.length > 4096) process.exit(1);
  const { id, method } = JSON.parse(line);
  if (id === undefined) return;
  const result = method === 'initialize'
    ? { protocolVersion: '2025-11-25', capabilities: { tools: {} }, serverInfo: { name: 'x', version: '1' } }
    : method === 'tools/list' ? { tools: [{ name: 'echo', inputSchema: { type: 'object' } }] } : { content: [] };
  console.log(JSON.stringify({ jsonrpc: '2.0', id, result }));
});`;

// biome-ignore lint/suspicious/noExplicitAny: answers are looked into by the tests
type Loose = any;

describe('a program that does not become a server', () => {
  let hub: RunningHub;

  before(async () => {
    mkdirSync(join(folder, 'folder'));
    const plain = script('plain.txt', '#!/bin/sh');
    hub = await startHub({
      config: {
        mcpServers: {
          asks: program(
            'console.error("Open the login page first"); console.log("log: starting"); setInterval(() => {}, 1e6)',
            { startMs: 3000 },
          ),
          slow: program('console.error("Ok to proceed? (y)"); setInterval(() => {}, 1e6)', { startMs: 60_000 }),
          crlf: { command: script('crlf.sh', '#!/bin/sh\r') },
          env: { command: script('env.py', '#!/usr/bin/env python9') },
          perl: { command: script('perl.pl', '#!/opt/none/perl -w') },
          folder: { command: join(folder, 'folder') },
          cwd: { command: process.execPath, cwd: plain },
          missing: { command: process.execPath, args: [join(folder, 'none.js')] },
          display: program('console.error("Error: no DISPLAY environment variable"); process.exit(1)'),
          hubs: program('console.error("TEAM_TOKEN must be set"); process.exit(1)'),
          usage: program('console.log("usage: serve PORT"); process.exit(2)'),
          short: program(SHORT_LINES),
        },
      },
      env: { TEAM_TOKEN: 'x' },
    });
  });
  after(() => hub[Symbol.asyncDispose]());

  const causes: Readonly<Record<string, RegExp>> = {
    crlf: /The first line of .*crlf\.sh ends with a carriage return .*sed -i/,
    env: /env\.py is a script for python9, which was not found on PATH/,
    perl: /perl\.pl is a script for \/opt\/none\/perl, which is not there/,
    folder: /folder is a directory\. Set "command"/,
    cwd: /The working directory .*plain\.txt is a file, not a directory\. Set "cwd"/,
    missing: /Cannot find module '.*none\.js'/,
    display: /no DISPLAY environment variable[\s\S]*do not inherit DISPLAY from the hub: .*"env"/,
    hubs: /TEAM_TOKEN must be set[\s\S]*do not inherit TEAM_TOKEN from the hub: .*"env"/,
    usage: /exit code 2\)\. It wrote nothing to stderr\.\s+On stdout, no message: usage: serve PORT/,
    asks: /did not finish initialize within 3\d\d\d ms.*startMs.*Its last line on stderr: Open the login page first\. .*not a message: log: starting\./,
    slow: /no answer to the handshake yet; last output: Ok to proceed\? \(y\)/,
  };

  // case: SV48, SV56, SV65, SV66
  test('says in its cause what it wrote, what is wrong with its command, and what it misses', async () => {
    for (const [name, words] of Object.entries(causes)) {
      await until(async () => !!(await rowOf(hub, name)).cause, 20_000, `${name} has a cause`);
      const { cause } = await rowOf(hub, name);
      assert.match(cause, words, name);
      assert.doesNotMatch(cause, /setpriv|MCPHUB_| {4}at /, name);
    }
  });

  // case: SV69
  test('one that ends at a large request: the operator reads how large it was', async () => {
    await until(async () => (await rowOf(hub, 'short')).state === 'ready', 20_000, 'short is ready');
    const call = (text: string) => callTool(`${hub.url}/mcp`, 'short_echo', { text }, { key: hub.key });
    const { json } = await call('x'.repeat(12_000));
    assert.equal(json.error.data.code, 'upstream-exit');
    const failure = async () => (await rowOf(hub, 'short')).hubs[0]?.lastFailure;
    await until(async () => (await failure())?.reference === json.error.data.reference, 5000, 'the status tells it');
    assert.match((await failure()).message, /The last request to it had 12\d\d\d bytes\./);
  });
});

async function rowOf(hub: RunningHub, name: string): Promise<Loose> {
  const answer = await fetch(`${hub.url}/api/status`, { headers: { authorization: `Bearer ${hub.key}` } });
  return ((await answer.json()) as { servers: Loose[] }).servers.find((row) => row.name === name);
}
