/**
 * A crowd at a running hub: thousands of sessions in a closed loop, driven by the bench's generator in C, while health
 * and heartbeat are timed.
 * Guarantees: the generator runs in its own process and checks every answer; everything that was started is ended.
 */
import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { get, type IncomingMessage } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { runDirFor } from '../../src/config/paths.ts';
import { changedProcesses, delay, freePort, ROOT, type RunningHub, startHub, until } from './hub.ts';
import { askHub, Client, isResult } from './load.ts';
import { TurnRecorder } from './turn-recorder.ts';

/** Of the generator, of the server behind the hub, and of this process. */
const OWN_DESCRIPTORS = 512;
const TEXT_BYTES = 200;

export interface CrowdOptions {
  readonly sessions: number;
  readonly seconds: number;
  readonly keys: number;
  readonly env: Readonly<Record<string, string>>;
}

export interface Crowd {
  readonly sent: number;
  readonly answered: number;
  readonly refused: number;
  readonly unanswered: number;
  /** Answers that were neither right nor a refusal. */
  readonly errors: number;
  readonly firstError: string;
  /** Slowest answer of `/health` on a connection of its own, ms. */
  readonly healthMaxMs: number;
  readonly healthFailures: number;
  /** Longest time between two heartbeats, ms. */
  readonly heartbeatMaxMs: number;
  /** Longest turn of the worker's event loop from the first session to the closing of all of them, in ms of CPU. */
  readonly longestTurnMs: number;
  /** Processes that ended or were replaced. */
  readonly changedProcesses: number;
  readonly log: string;
}

export interface Tools extends Disposable {
  /** Removed with them. */
  /** Path of the load generator. */
  readonly load: string;
  /** Path of a server that answers at once. */
  readonly upstream: string;
}

/** Compiles the native programs of the bench. */
export function compile(): Tools {
  const dir = mkdtempSync(join(tmpdir(), 'mcphub-crowd-'));
  const build = (name: string): string => {
    const out = join(dir, name);
    execFileSync('cc', ['-O2', '-o', out, join(ROOT, 'bench/native', `${name}.c`)]);
    return out;
  };
  return {
    load: build('load'),
    upstream: build('upstream'),
    [Symbol.dispose]: () => rmSync(dir, { recursive: true, force: true }),
  };
}

/** Sessions that the descriptors of a process of this machine allow. */
export function sessionsWithin(wanted: number): number {
  const [, hard = ''] = /^Max open files\s+\S+\s+(\S+)/m.exec(readFileSync('/proc/self/limits', 'utf8')) ?? [];
  return hard === 'unlimited' ? wanted : Math.min(wanted, Number(hard) - OWN_DESCRIPTORS);
}

export async function crowd(options: CrowdOptions): Promise<Crowd> {
  using tools = compile();
  const port = await freePort();
  const upstream = spawn(tools.upstream, [String(port), '5'], { stdio: 'ignore' });
  using turns = new TurnRecorder();
  try {
    await using hub = await startHub({
      config: { mcpServers: { bench: { type: 'streamable-http', url: `http://127.0.0.1:${port}/mcp` } } },
      env: { ...options.env, ...turns.env },
    });
    const client = new Client(hub);
    const call = () => client.call('bench_text200', { path: 'x', limit: 1 });
    await until(async () => isResult(await call()), 30_000, 'the server behind the hub');
    client.close();
    return await measure(hub, tools, turns, options);
  } finally {
    upstream.kill('SIGKILL');
  }
}

async function measure(hub: RunningHub, tools: Tools, turns: TurnRecorder, options: CrowdOptions): Promise<Crowd> {
  const keys = await keysFor(hub, options.keys);
  const before = hub.processes();
  const heartbeat = watchHeartbeat(hub);
  const args = [String(hub.port), '/mcp', String(options.sessions), String(options.seconds), '0', 'call'];
  turns.begin();
  const generator = spawn(tools.load, [...args, 'bench_text200', String(TEXT_BYTES), keys.join(','), 'refusals']);
  let [out, faults, isOver] = ['', '', false];
  generator.stdout.on('data', (chunk: Buffer) => {
    out += chunk.toString();
  });
  generator.stderr.on('data', (chunk: Buffer) => {
    faults += chunk.toString();
  });
  generator.once('close', () => {
    isOver = true;
  });
  let [healthMaxMs, healthFailures] = [0, 0];
  try {
    while (!isOver) {
      const bornMs = performance.now();
      if ((await askHealth(hub)) !== 200) healthFailures += 1;
      healthMaxMs = Math.max(healthMaxMs, performance.now() - bornMs);
      await delay(100);
    }
  } finally {
    generator.kill('SIGKILL');
  }
  // Its connections have closed with it, all at once.
  await until(async () => (await openConnections(hub)) < options.sessions / 10, 10_000, 'the sessions to be closed');
  if (!out.startsWith('{')) throw new Error(`the generator failed: ${faults}`);
  return {
    ...(JSON.parse(out) as Crowd),
    ...{ healthMaxMs, healthFailures, heartbeatMaxMs: heartbeat.stop() },
    longestTurnMs: turns.longestMs(),
    changedProcesses: changedProcesses(before, hub),
    log: hub.log,
  };
}

async function openConnections(hub: RunningHub): Promise<number> {
  const { ceilings } = (await askHub(hub, '/api/ceilings')) as { ceilings: { name: string; size: number }[] };
  return ceilings.find(({ name }) => name === 'downstream.connections.front')?.size ?? 0;
}

/** The owner's key, and others of as many users. */
async function keysFor(hub: RunningHub, count: number): Promise<string[]> {
  const keys = [hub.key];
  while (keys.length < count) {
    const answer = await fetch(`${hub.url}/api/keys`, {
      method: 'POST',
      headers: { authorization: `Bearer ${hub.key}`, 'content-type': 'application/json' },
      body: JSON.stringify({ user: `user${keys.length}`, name: 'crowd' }),
    });
    const text = await answer.text();
    if (answer.status !== 201) throw new Error(`a key was refused: ${answer.status} ${text}`);
    keys.push((JSON.parse(text) as { secret: string }).secret);
  }
  return keys;
}

/** Status of `/health` on a new connection; 0 = none within 30 s. */
function askHealth(hub: RunningHub): Promise<number> {
  return new Promise((resolve) => {
    const asked = get({ host: '127.0.0.1', port: hub.port, path: '/health', agent: false, timeout: 30_000 });
    asked.on('response', (answer: IncomingMessage) => {
      answer.resume().on('close', () => resolve(answer.statusCode ?? 0));
    });
    asked.on('timeout', () => asked.destroy());
    asked.on('error', () => resolve(0));
  });
}

/** Reads heartbeats as the supervisor does. */
function watchHeartbeat(hub: RunningHub): { stop(): number } {
  let lastMs = performance.now();
  let mostMs = 0;
  const note = (): void => {
    mostMs = Math.max(mostMs, performance.now() - lastMs);
    lastMs = performance.now();
  };
  const socketPath = join(runDirFor(hub.dataDir), 'hub-1.sock');
  const asked = get({ socketPath, path: '/beat', agent: false }, (answer) => {
    answer.on('data', note).on('error', () => {});
  }).on('error', () => {});
  return {
    stop() {
      note();
      asked.destroy();
      return mostMs;
    },
  };
}
