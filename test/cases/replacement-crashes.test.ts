// runs: in pairs, about 60 s
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, beforeEach, describe, test } from 'node:test';
import { delay, isAlive, type RunningHub, startHub, tryKill, until } from '../support/hub.ts';
import { type Answer, Client, isResult } from '../support/load.ts';

/**
 * A server with a PID file: one that is alive already is killed, as such servers do. It speaks over stdin, or over HTTP
 * on PORT, and writes down its starts and kills.
 */
const CHILD = `
const { appendFileSync, existsSync, readFileSync, writeFileSync } = require('node:fs');
const [file, journal] = process.argv.slice(1);
appendFileSync(journal, 'start\\n');
if (existsSync(file)) {
  try {
    const pid = Number(readFileSync(file, 'utf8'));
    // One that has ended and is not collected yet holds nothing.
    if (!/^\\d+ \\(.*\\) Z/s.test(readFileSync('/proc/' + pid + '/stat', 'utf8'))) {
      process.kill(pid, 'SIGKILL');
      appendFileSync(journal, 'kill\\n');
    }
  } catch {}
}
writeFileSync(file, String(process.pid));
const results = {
  initialize: { protocolVersion: '2025-11-25', capabilities: { tools: {} }, serverInfo: { name: 'pid', version: '1' } },
  'tools/list': { tools: ['pid', 'sleep'].map((name) => ({ name, inputSchema: { type: 'object' } })) },
  'tools/call': { content: [{ type: 'text', text: 'pid ' + process.pid }] },
};
function answer(text, send) {
  const { id, method, params } = JSON.parse(text);
  const reply = JSON.stringify({ jsonrpc: '2.0', id, result: results[method] || {} });
  const ms = params && params.name === 'sleep' ? params.arguments.ms : 0;
  if (id === undefined) send('');
  else setTimeout(() => send(reply), ms);
}
if (process.env.PORT) {
  require('node:http').createServer((request, response) => {
    let text = '';
    request.on('data', (chunk) => { text += chunk; });
    request.on('end', () => {
      if (request.method !== 'POST') return response.writeHead(405).end();
      answer(text, (reply) => response.writeHead(reply ? 200 : 202, { 'content-type': 'application/json' }).end(reply));
    });
  }).listen(Number(process.env.PORT), '127.0.0.1');
} else {
  require('node:readline').createInterface({ input: process.stdin }).on('line', (line) => {
    answer(line, (reply) => reply && process.stdout.write(reply + '\\n'));
  }).on('close', () => process.exit(0));
}
`;

/** A server that is away for longer than this in all is "down for a minute" to its users, not a restart. */
const AWAY_MS = 12_000;

// case: SV32
describe('a worker that is replaced, with a server that has a PID file', { timeout: 280_000 }, () => {
  const directory = mkdtempSync(join(tmpdir(), 'mcphub-crashes-'));
  const names = ['stdio', 'launched'] as const;
  const pathOf = (what: string): string => join(directory, what);
  const journalOf = (name: string): string[] =>
    readFileSync(pathOf(`${name}-journal`), 'utf8')
      .trim()
      .split('\n');
  let hub: RunningHub;

  beforeEach(async () => {
    for (const name of names) for (const what of ['journal', 'pid']) rmSync(pathOf(`${name}-${what}`), { force: true });
    const program = (name: string) => ({
      command: process.execPath,
      args: ['-e', CHILD, pathOf(`${name}-pid`), pathOf(`${name}-journal`)],
    });
    const mcpServers = {
      stdio: program('stdio'),
      // biome-ignore lint/suspicious/noTemplateCurlyInString: the hub puts the port there
      launched: { type: 'http', url: 'http://127.0.0.1:${PORT}/mcp', launch: program('launched') },
    };
    hub = await startHub({ config: { mcpServers } });
    await answers(hub, 'both answer');
  });
  afterEach(() => hub?.[Symbol.asyncDispose]());
  after(() => rmSync(directory, { recursive: true, force: true }));

  test('no process runs beside the next one, none is killed by it, and no call fails', async () => {
    const [old = 0] = workers(hub);
    const slept = sleeping(hub, 5000);
    const calls = new Caller(hub);
    await delay(300);
    await replaced(hub);
    for (const name of names) assert.deepEqual(journalOf(name), ['start'], `${name} has a call inside`);
    for (const answer of await slept) assert.ok(isResult(answer), `${answer.status} ${answer.text}`);
    await until(() => !isAlive(old), 40_000, 'the old worker has ended');
    await delay(300);
    assert.deepEqual(await calls.failures(), []);
    for (const name of names) assert.deepEqual(journalOf(name), ['start', 'start'], name);
  });

  test('and the old one is killed with calls inside: the next process starts, and no other calls fail for long', async () => {
    const [old = 0] = workers(hub);
    const slept = sleeping(hub, 20_000);
    await delay(300);
    await replaced(hub);
    const calls = new Caller(hub);
    await delay(500);
    tryKill(old);
    for (const answer of await slept) assert.ok(!isResult(answer), 'it was lost with its worker');
    await calls.areWell();
    for (const name of names) assert.deepEqual(journalOf(name), ['start', 'start'], name);
  });

  test('and the new one is killed while it forwards: no process runs beside another, none is killed by it', async () => {
    const [old = 0] = workers(hub);
    const slept = sleeping(hub, 8000);
    await delay(300);
    await replaced(hub);
    const calls = new Caller(hub);
    await delay(500);
    const [next = 0] = workers(hub).filter((pid) => pid !== old);
    tryKill(next);
    await calls.areWell();
    for (const name of names) assert.ok(!journalOf(name).includes('kill'), `${name}: ${journalOf(name)}`);
    for (const answer of await slept) assert.ok(isResult(answer), `${answer.status} ${answer.text}`);
    await until(() => !isAlive(old), 40_000, 'the old worker has ended');
    await answers(hub, 'both answer at last');
    for (const name of names) assert.deepEqual(journalOf(name), ['start', 'start'], name);
  });

  test('and the new one is killed before it serves: the old one goes on', async () => {
    const [old = 0] = workers(hub);
    const slept = sleeping(hub, 3000);
    const calls = new Caller(hub);
    await delay(300);
    tryKill(hub.pid, 'SIGUSR2');
    await until(() => workers(hub).length === 2, 10_000, 'the next worker');
    for (const pid of workers(hub)) if (pid !== old) tryKill(pid);
    for (const answer of await slept) assert.ok(isResult(answer), `${answer.status} ${answer.text}`);
    assert.deepEqual(await calls.failures(), []);
    assert.deepEqual(workers(hub), [old]);
    for (const name of names) assert.deepEqual(journalOf(name), ['start'], name);
  });
});

const workers = (hub: RunningHub): number[] => hub.processes().hub ?? [];

async function replaced(hub: RunningHub): Promise<void> {
  tryKill(hub.pid, 'SIGUSR2');
  await until(() => hub.lines.some(({ event }) => event === 'process-replaced'), 30_000, 'the new worker serves');
}

async function answers(hub: RunningHub, what: string): Promise<void> {
  const client = new Client(hub);
  for (const tool of ['stdio_pid', 'launched_pid'])
    await until(async () => isResult(await client.call(tool)), 30_000, `${what}: ${tool}`);
  client.close();
}

/** A long call to each server, over connections that begin now. */
function sleeping(hub: RunningHub, ms: number): Promise<Answer[]> {
  return Promise.all(
    ['stdio_sleep', 'launched_sleep'].map(async (tool) => {
      const client = new Client(hub);
      const answer = await client.call(tool, { ms }, ms + 30_000);
      client.close();
      return answer;
    }),
  );
}

/** Calls both servers all the time, over a connection for each call, so that it reaches whichever worker serves. */
class Caller {
  readonly #failed: { tool: string; atMs: number; text: string }[] = [];
  readonly #running: Promise<void>[];
  #isOver = false;
  /** Successes in a row, by tool. */
  readonly #well: Record<string, number> = {};

  constructor(hub: RunningHub) {
    this.#running = ['stdio_pid', 'launched_pid'].map((tool) => this.#call(hub, tool));
  }

  /** Ends it and returns the calls that have failed. */
  async failures(): Promise<unknown[]> {
    this.#isOver = true;
    await Promise.all(this.#running);
    return this.#failed;
  }

  /** Ends it when both servers answer again; fails when that takes longer than `AWAY_MS`. */
  async areWell(): Promise<void> {
    await delay(2000);
    const bornMs = performance.now();
    await until(() => Object.values(this.#well).every((row) => row >= 20), 60_000, 'both answer 20 times in a row');
    const tookMs = performance.now() - bornMs;
    await this.failures();
    assert.ok(tookMs < AWAY_MS, `${tookMs} ms: ${JSON.stringify(this.#failed.slice(0, 4))}`);
  }

  async #call(hub: RunningHub, tool: string): Promise<void> {
    this.#well[tool] = 0;
    while (!this.#isOver) {
      const client = new Client(hub);
      const { status, text, fault } = await client.call(tool);
      client.close();
      const isWell = status === 200 && text.includes('pid ');
      this.#well[tool] = isWell ? (this.#well[tool] ?? 0) + 1 : 0;
      if (!isWell) this.#failed.push({ tool, atMs: Math.round(performance.now()), text: fault ?? text.slice(0, 300) });
      await delay(50);
    }
  }
}
