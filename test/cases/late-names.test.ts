/**
 * A list that changes is known to one worker a moment before the other: what a client has listed there may be called
 * here.
 */
import assert from 'node:assert/strict';
import { request } from 'node:http';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { runDirFor } from '../../src/config/paths.ts';
import { socketName } from '../../src/model/supervisor-messages.ts';
import { ROOT, type RunningHub, startHub, until } from '../support/hub.ts';

const SERVERS = 5;
const ROUNDS = 20;
const ENV = { MCPHUB_RELIST_MS: '100', MCPHUB_RELIST_CAP_MS: '1000' };

interface Answer {
  readonly text: string;
  readonly session: string | undefined;
}

/** One request on a worker's own socket. */
async function ask(hub: RunningHub, worker: number, method: string, params: object): Promise<string> {
  return (await post(hub, worker, { method, params })).text;
}

function post(
  hub: RunningHub,
  worker: number,
  { method, params, session }: { method: string; params: object; session?: string | undefined },
): Promise<Answer> {
  const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method, params });
  const socketPath = join(runDirFor(hub.dataDir), socketName('hub', worker));
  const headers = {
    host: 'localhost',
    'content-type': 'application/json',
    accept: 'application/json, text/event-stream',
    ...(session === undefined ? {} : { 'mcp-session-id': session }),
  };
  return new Promise((resolve, reject) => {
    const sent = request({ socketPath, method: 'POST', path: '/mcp', headers, agent: false }, (answer) => {
      let text = '';
      answer.setEncoding('utf8');
      answer.on('data', (piece: string) => {
        text += piece;
      });
      const own = answer.headers['mcp-session-id'];
      answer.on('end', () => resolve({ text, session: own === undefined ? undefined : String(own) }));
      answer.on('error', reject);
    });
    sent.on('error', reject);
    sent.end(body);
  });
}

const call = (hub: RunningHub, worker: number, name: string): Promise<string> =>
  ask(hub, worker, 'tools/call', { name, arguments: {} });

/** Lets a server list more. In the first second its other worker may not be connected yet, and nothing is executed. */
async function grow(hub: RunningHub, name: string): Promise<void> {
  await until(async () => (await call(hub, 1, `${name}_grow`)).includes('"called"'), 10_000, `${name} grows`);
}

/** Returns the worker that lists a tool, or something else, first. */
async function firstToList(hub: RunningHub, name: string, method = 'tools/list'): Promise<number> {
  let first = 0;
  const lists = async (worker: number): Promise<boolean> => (await ask(hub, worker, method, {})).includes(`"${name}"`);
  await until(
    async () => {
      for (const worker of [1, 2])
        if (await lists(worker)) {
          first = worker;
          return true;
        }
      return false;
    },
    20_000,
    `${name} is listed`,
  );
  return first;
}

const completion = (ref: object): object => ({ ref, argument: { name: 'x', value: '' } });

describe('a tool that one worker has listed', { timeout: 170_000 }, () => {
  let hub: RunningHub;
  const names = Array.from({ length: SERVERS }, (_, at) => `s${at}`);
  before(async () => {
    const file = join(ROOT, 'test/support/growing-stdio.ts');
    const mcpServers = Object.fromEntries(
      names.map((name) => [name, { command: process.execPath, args: [file, name] }]),
    );
    hub = await startHub({ config: { mcpServers }, args: ['--workers', '2'], env: ENV });
    for (const worker of [1, 2])
      for (const name of names)
        await until(async () => (await ask(hub, worker, 'tools/list', {})).includes(`"${name}_grow"`), 20_000, name);
  });
  after(() => hub?.[Symbol.asyncDispose]());

  // case: SV24d
  test('is known to the other at once', async () => {
    const failed: string[] = []; // bounded by: the test's calls
    await Promise.all(
      names.map(async (name) => {
        for (let round = 1; round <= ROUNDS; round += 1) {
          await grow(hub, name);
          const tool = `${name}_t${round}`;
          const first = await firstToList(hub, tool);
          const answer = await call(hub, 3 - first, tool);
          if (!answer.includes('"called"')) failed.push(answer);
        }
      }),
    );
    assert.deepEqual(failed, []);
  });

  // case: SV24d
  test('is found for all who call it in the same moment', async () => {
    await grow(hub, 's0');
    const tool = `s0_t${ROUNDS + 1}`;
    const first = await firstToList(hub, tool);
    const answers = await Promise.all(Array.from({ length: 50 }, () => call(hub, 3 - first, tool)));
    assert.deepEqual(
      answers.filter((answer) => !answer.includes('"called"')),
      [],
    );
  });

  // case: SV24d
  test('is known as a prompt, resource and template too', async () => {
    const initialize = { protocolVersion: '2025-06-18', capabilities: {}, clientInfo: { name: 'test', version: '1' } };
    const sessions = await Promise.all(
      [1, 2].map(async (worker) => (await post(hub, worker, { method: 'initialize', params: initialize })).session),
    );
    const kinds = [
      ['prompts/list', (nth) => `s1_p${nth}`, 'prompts/get', (name) => ({ name })],
      [
        'prompts/list',
        (nth) => `s1_p${nth}`,
        'completion/complete',
        (name) => completion({ type: 'ref/prompt', name }),
      ],
      ['resources/list', (nth) => `grow:///s1/r${nth}`, 'resources/read', (uri) => ({ uri })],
      ['resources/list', (nth) => `grow:///s1/r${nth}`, 'resources/subscribe', (uri) => ({ uri })],
      [
        'resources/templates/list',
        (nth) => `grow:///s1/m${nth}/{x}`,
        'completion/complete',
        (uri) => completion({ type: 'ref/resource', uri }),
      ],
    ] satisfies [string, (nth: number) => string, string, (name: string) => object][];
    const failed: string[] = []; // bounded by: the test's calls
    for (let round = 0; round < 25; round += 1) {
      await grow(hub, 's1');
      const [list, nameOf, method, paramsOf] = kinds[round % kinds.length] as (typeof kinds)[number];
      const name = nameOf(ROUNDS + round + 1);
      const first = await firstToList(hub, name, list);
      const { text } = await post(hub, 3 - first, { method, params: paramsOf(name), session: sessions[2 - first] });
      if (!/"called"|"result":\{\}/.test(text)) failed.push(`${method} ${text}`);
    }
    assert.deepEqual(failed, []);
  });

  // case: SV24d
  test('differs from one that no worker knows, which is unknown at once', async () => {
    const bornMs = performance.now();
    const asked = Array.from({ length: 200 }, (_, at) => call(hub, 1 + (at % 2), `s0_missing${at}`));
    for (const answer of await Promise.all(asked)) assert.match(answer, /Unknown tool/);
    const tookMs = performance.now() - bornMs;
    assert.ok(tookMs < 5000, `200 calls took ${Math.round(tookMs)} ms`);
  });
});
