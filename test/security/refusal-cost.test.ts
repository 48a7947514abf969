/**
 * What a refusal costs: compared with an HTTP server of the runtime that does nothing but answer 429, in turn in one run.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { compile, type Tools } from '../support/crowd.ts';
import { delay, freePort, ROOT, type RunningHub, startHub } from '../support/hub.ts';
import { Client, median } from '../support/load.ts';
import { measured, scaled } from '../support/measured.ts';

const CONNECTIONS = 70;
const PAIRS = scaled({ ci: 4, long: 15 });
const SERVER = { command: process.execPath, args: [join(ROOT, 'test/support/fault-stdio.ts'), 'normal'] };
/** As many bytes as the hub's own answer has. */
const BARE = `
const body = JSON.stringify({ jsonrpc: '2.0', id: null, error: { code: -32000, message: 'x'.repeat(40), data: { code: 'x'.repeat(12), retryable: true, setting: 'x'.repeat(12) } } });
const headers = { 'content-type': 'application/json', 'content-length': body.length, 'retry-after': '1' };
require('node:http').createServer((request, response) => response.writeHead(429, headers).end(body)).listen(Number(process.argv[1]), '127.0.0.1');
`;

let tools: Tools;
let bare: ChildProcess;
let barePort: number;

before(async () => {
  tools = compile();
  barePort = await freePort();
  bare = spawn(process.execPath, ['-e', BARE, String(barePort)], { stdio: 'ignore' });
});
after(() => {
  bare?.kill('SIGKILL');
  tools?.[Symbol.dispose]();
});

interface Target {
  readonly port: number;
  readonly pid: number;
  readonly key: string;
}

function cpuMs(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const [userTicks, systemTicks] = stat
    .slice(stat.lastIndexOf(')') + 2)
    .split(' ')
    .slice(11, 13);
  return (Number(userTicks) + Number(systemTicks)) * 10;
}

/** CPU time of one refusal, in µs. */
async function refusalUs({ port, pid, key }: Target): Promise<number> {
  const args = [String(port), '/mcp', String(CONNECTIONS), '1', '0', 'list', 'x', '0', key, 'refusals'];
  const generator = spawn(tools.load, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  let out = '';
  generator.stdout.on('data', (chunk: Buffer) => {
    out += chunk.toString();
  });
  const beforeMs = cpuMs(pid);
  await once(generator, 'close');
  const seen = JSON.parse(out) as { refused: number; answered: number; unanswered: number; errors: number };
  assert.equal(seen.unanswered, 0);
  assert.ok(seen.errors <= 2, out);
  assert.ok(seen.refused > 0.99 * seen.answered, out);
  return ((cpuMs(pid) - beforeMs) * 1000) / seen.answered;
}

async function judge(hub: RunningHub, what: string): Promise<void> {
  const [pid] = hub.processes().hub ?? [];
  assert.ok(pid !== undefined && bare.pid !== undefined);
  const ours: Target = { port: hub.port, pid, key: hub.key };
  const theirs: Target = { port: barePort, pid: bare.pid, key: 'none' };
  const ratios: number[] = [];
  for (let pair = -1; pair < PAIRS; pair += 1) {
    const ratio = (await refusalUs(ours)) / (await refusalUs(theirs));
    if (pair >= 0) ratios.push(ratio);
  }
  const value = median(ratios);
  measured({ promise: 'P10', what: `CPU of a refusal (${what}) ÷ a bare 429`, value, unit: '×', strict: 1.3, ci: 2 });
}

describe('CPU of a refusal', { timeout: 120_000 }, () => {
  // finding: SR-O1
  test('is near that of a bare 429 for a key above its rate', async () => {
    await using hub = await startHub({ config: { mcpServers: { a: SERVER } }, env: { MCPHUB_KEY_PER_SECOND: '1' } });
    await judge(hub, 'rate');
  });

  test('is near that of a bare 429 for a key with too many calls in flight, whose bodies are looked at', async () => {
    await using hub = await startHub({
      config: { mcpServers: { a: SERVER } },
      env: { MCPHUB_KEY_IN_FLIGHT: '1', MCPHUB_SILENCE_MS: '120000' },
    });
    const client = new Client(hub);
    const stuck = client.call('a_stuck', {}, 120_000);
    await delay(500);
    await judge(hub, 'calls in flight');
    client.close();
    await stuck;
  });
});
