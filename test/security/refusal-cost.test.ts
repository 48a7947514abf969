/**
 * What a refusal costs: compared with an HTTP server of the runtime that does nothing but answer 429, in turn in one
 * run.
 */
// runs: alone
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { compile, type Tools } from '../support/crowd.ts';
import { delay, freePort, ROOT, type RunningHub, startHub } from '../support/hub.ts';
import { Client, median, slowness } from '../support/load.ts';
import { IS_LONG, measured, scaled } from '../support/measured.ts';

const STRICT = 1.3;
/** Both sides of a ratio are slowed down; beyond this the machine is no excuse. */
const MOST_SLOWNESS = 3;
/**
 * Where the connection is closed after it: the next one is accepted by the supervisor, and handed over to the worker.
 */
const STRICT_CLOSING = 5;
const CONNECTIONS = 70;
const PAIRS = scaled({ ci: 3, long: 15 });
/** Before the code is compiled and warm, its cost says nothing. */
const WARM_REFUSALS = 15_000;
const SAMPLE_REFUSALS = 3000;
/** Longest time for either, on a machine that other work slows down. */
const SAMPLE_MS = 5000;
const SERVER = { command: process.execPath, args: [join(ROOT, 'test/support/fault-stdio.ts'), 'normal'] };
/** As many bytes as the hub's own answer has. */
const BARE = `
const body = JSON.stringify({ jsonrpc: '2.0', id: null, error: { code: -32000, message: 'x'.repeat(40), data: { code: 'x'.repeat(12), retryable: true, setting: 'x'.repeat(12) } } });
const headers = { 'content-type': 'application/json', 'content-length': body.length, 'retry-after': '1' };
const closing = { ...headers, connection: 'close' };
require('node:http').createServer((request, response) => response.writeHead(429, request.url === '/close' ? closing : headers).end(body)).listen(Number(process.argv[1]), '127.0.0.1');
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
  readonly path: string;
  /** HTTP status of the refusals. */
  readonly status: number;
  /** 0 = a GET without a body. */
  readonly bodyBytes: number;
}

/** Of a tools/list, which is longer. */
const SHORTEST = 1;

interface Refused extends Pick<Target, 'status'>, Partial<Pick<Target, 'path' | 'key' | 'bodyBytes'>> {
  /** The connection is closed after it. */
  readonly closes?: boolean;
  /** In CI, on a machine that does nothing else; default 2. */
  readonly allowed?: number;
  /** Samples of each side; default `PAIRS`. */
  readonly pairs?: number;
}

function cpuMs(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const [userTicks, systemTicks] = stat
    .slice(stat.lastIndexOf(')') + 2)
    .split(' ')
    .slice(11, 13);
  return (Number(userTicks) + Number(systemTicks)) * 10;
}

interface Sample {
  readonly refused: number;
  readonly cpuMs: number;
  readonly wallMs: number;
}

/** Drives refusals for a second. */
async function drive({ port, pid, key, path, status, bodyBytes }: Target): Promise<Sample> {
  const args = [
    String(port),
    path,
    String(CONNECTIONS),
    '1',
    '0',
    bodyBytes > 0 ? 'list' : 'get',
    'x',
    String(bodyBytes),
    key,
  ];
  args.push(`refusals=${status}`);
  const generator = spawn(tools.load, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  let out = '';
  generator.stdout.on('data', (chunk: Buffer) => {
    out += chunk.toString();
  });
  const [startMs, cpuBeforeMs] = [performance.now(), cpuMs(pid)];
  await once(generator, 'close');
  const seen = JSON.parse(out) as { refused: number; answered: number; errors: number };
  // One token a second comes back, and its call is answered.
  const seconds = Math.ceil((performance.now() - startMs) / 1000);
  assert.ok(seen.errors <= seconds && seen.answered - seen.refused <= seconds, out);
  return { refused: seen.refused, cpuMs: cpuMs(pid) - cpuBeforeMs, wallMs: performance.now() - startMs };
}

/** CPU time of one refusal, in µs, of at least so many; what the process takes without requests is not counted. */
async function refusalUs(target: Target, refusals: number, idleShare: number): Promise<number> {
  const sum = { refused: 0, cpuMs: 0, wallMs: 0 };
  while (sum.refused < refusals && sum.wallMs < SAMPLE_MS) {
    const sample = await drive(target);
    sum.refused += sample.refused;
    sum.cpuMs += sample.cpuMs;
    sum.wallMs += sample.wallMs;
  }
  return ((sum.cpuMs - idleShare * sum.wallMs) * 1000) / sum.refused;
}

/** Part of a core that a process takes without requests. */
async function idleShareOf(pid: number): Promise<number> {
  const [startMs, cpuBeforeMs] = [performance.now(), cpuMs(pid)];
  await delay(1500);
  return (cpuMs(pid) - cpuBeforeMs) / (performance.now() - startMs);
}

async function judge(hub: RunningHub, what: string, refused: Refused = { status: 429 }): Promise<void> {
  const [pid] = hub.processes().hub ?? [];
  assert.ok(pid !== undefined && bare.pid !== undefined);
  const {
    status,
    path = '/mcp',
    key = hub.key,
    bodyBytes = SHORTEST,
    closes = false,
    allowed = 2,
    pairs = PAIRS,
  } = refused;
  const ours: Target = { port: hub.port, pid, key, path, status, bodyBytes };
  const theirs = { ...ours, key: 'none', port: barePort, pid: bare.pid, path: closes ? '/close' : '/mcp', status: 429 };
  await refusalUs(ours, WARM_REFUSALS, 0);
  await refusalUs(theirs, WARM_REFUSALS, 0);
  const idleShare = await idleShareOf(pid);
  const ratios: number[] = [];
  for (let pair = 0; pair < pairs; pair += 1)
    ratios.push((await refusalUs(ours, SAMPLE_REFUSALS, idleShare)) / (await refusalUs(theirs, SAMPLE_REFUSALS, 0)));
  const value = median(ratios);
  // Where other work takes caches and cores, longer code loses more than shorter.
  const ci = allowed * Math.min(MOST_SLOWNESS, await slowness());
  const strict = closes ? STRICT_CLOSING : STRICT;
  measured({ promise: 'P10', what: `CPU of a refusal (${what}) ÷ a bare 429`, value, unit: '×', strict, ci });
}

describe('CPU of a refusal', { timeout: scaled({ ci: 300_000, long: 900_000 }) }, () => {
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

  const UNLIMITED = { MCPHUB_ADDRESS_PER_SECOND: '100000', MCPHUB_FAILED_KEYS_PER_MINUTE: '100000' };
  const WRONG = `mcphub_${'0'.repeat(64)}`;
  const FORMS: readonly (readonly [what: string, refused: Refused, env: Record<string, string>])[] = [
    ['no key', { status: 401, key: '', bodyBytes: 0 }, UNLIMITED],
    // The largest failedKeysPerMinute, 100,000, is used up after three samples of a second.
    ['a wrong key', { status: 401, key: WRONG, bodyBytes: 0, pairs: 1 }, UNLIMITED],
    ['an address without keys', { status: 429, key: '', bodyBytes: 0 }, { MCPHUB_ADDRESS_PER_SECOND: '1' }],
    ['an address with wrong keys', { status: 429, key: WRONG, bodyBytes: 0 }, { MCPHUB_FAILED_KEYS_PER_MINUTE: '1' }],
    ['a body too large', { status: 413, bodyBytes: 2000, closes: true }, { MCPHUB_BODY_BYTES: '1KiB' }],
    ['an unknown path', { status: 404, path: '/nowhere', bodyBytes: 0 }, {}],
  ];
  // Each starts a hub and warms it up: in CI one of them stands for the others.
  for (const [what, refused, env] of IS_LONG ? FORMS : FORMS.slice(0, 1))
    test(`is near that of a bare 429 for ${what} (${refused.status})`, async () => {
      await using hub = await startHub({
        config: { mcpServers: { a: SERVER } },
        env: { MCPHUB_KEY_PER_SECOND: '100000', ...env },
      });
      await judge(hub, `${what}, ${refused.status}`, { allowed: refused.closes ? 10 : 2, ...refused });
    });

  test('is near that of a bare 429 for a hub that is full (503)', async () => {
    await using hub = await startHub({
      config: { mcpServers: { a: SERVER } },
      env: { MCPHUB_CALLS: '1', MCPHUB_KEY_PER_SECOND: '100000', MCPHUB_SILENCE_MS: '120000' },
    });
    const client = new Client(hub);
    const stuck = client.call('a_stuck', {}, 120_000);
    await delay(500);
    await judge(hub, 'a full hub, 503', { status: 503 });
    client.close();
    await stuck;
  });
});
