// runs: in pairs
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { delay, freePort, isAlive, type RunningHub, startHub, tryKill, until } from '../support/hub.ts';
import { type Answer, Client, isResult } from '../support/load.ts';

/**
 * A server that listens on a fixed port beside stdin, and writes down its starts; it cannot start while another one has
 * the port.
 */
const CHILD = `
const { appendFileSync } = require('node:fs');
const [port, journal] = process.argv.slice(1);
appendFileSync(journal, 'start\\n');
require('node:net').createServer().on('error', (fault) => {
  appendFileSync(journal, fault.code + '\\n');
  process.exit(1);
}).listen(Number(port), '127.0.0.1', () => {
  const results = {
    initialize: { protocolVersion: '2025-11-25', capabilities: { tools: {} }, serverInfo: { name: 'port', version: '1' } },
    'tools/list': { tools: ['pid', 'sleep'].map((name) => ({ name, inputSchema: { type: 'object' } })) },
    'tools/call': { content: [{ type: 'text', text: 'pid ' + process.pid }] },
  };
  require('node:readline').createInterface({ input: process.stdin }).on('line', (line) => {
    const { id, method, params } = JSON.parse(line);
    const text = JSON.stringify({ jsonrpc: '2.0', id, result: results[method] || {} }) + '\\n';
    const ms = params && params.name === 'sleep' ? params.arguments.ms : 0;
    if (id !== undefined) setTimeout(() => process.stdout.write(text), ms);
  }).on('close', () => process.exit(0));
});
`;

// case: SV32
describe('a worker that is replaced', { timeout: 120_000 }, () => {
  const directory = mkdtempSync(join(tmpdir(), 'mcphub-replacement-'));
  const journal = join(directory, 'journal');
  const journalLines = (): string[] => readFileSync(journal, 'utf8').trim().split('\n');
  let hub: RunningHub;

  before(async () => {
    const port = String(await freePort());
    const fixed = { command: process.execPath, args: ['-e', CHILD, port, journal] };
    hub = await startHub({ config: { mcpServers: { fixed } } });
    const client = new Client(hub);
    await until(async () => isResult(await client.call('fixed_pid')), 20_000, 'it answers');
    client.close();
  });
  after(async () => {
    await hub?.[Symbol.asyncDispose]();
    rmSync(directory, { recursive: true, force: true });
  });

  test('gives its stdio servers over one after the other: none runs twice, and no call fails, long ones and new ones', async () => {
    const [old] = hub.processes().hub ?? [];
    assert.ok(old !== undefined);
    const long = new Client(hub);
    const slept = long.call('fixed_sleep', { ms: 6000 });
    const answers: Answer[] = [];
    let isOver = false;
    const calling = (async () => {
      // A connection for each call, so that calls reach whichever worker serves.
      while (!isOver) {
        const client = new Client(hub);
        answers.push(await client.call('fixed_pid'));
        client.close();
        await delay(50);
      }
    })();
    await delay(300);
    tryKill(hub.pid, 'SIGUSR2');
    await until(() => hub.lines.some(({ event }) => event === 'process-replaced'), 30_000, 'the new worker serves');
    assert.deepEqual(journalLines(), ['start'], 'the process that has a call inside is still the only one');
    assert.ok(isResult(await slept));
    await until(() => !isAlive(old), 40_000, 'the old worker has ended');
    await delay(300);
    isOver = true;
    await calling;
    long.close();
    const failed = answers.filter((answer) => !isResult(answer));
    assert.deepEqual(failed, [], `${failed.length} of ${answers.length} calls failed`);
    assert.deepEqual(journalLines(), ['start', 'start'], 'each worker started it once');
    const pids = new Set(answers.map(({ text }) => /pid (\d+)/.exec(text)?.[1]));
    assert.equal(pids.size, 2);
    const longest = Math.max(...answers.map(({ ms }) => ms));
    assert.ok(longest < 5000, `a call waited ${longest} ms`);
  });
});
