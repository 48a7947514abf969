/**
 * A whole hub (guard, control, hubs) as a user starts it, on a free port and a data directory of its own.
 * Promises: a fault of the hub's own code fails the test when the hub is stopped; stops what it started and nothing
 * else, by pid; `await using` cleans up also when a test fails; a hub that does not come up fails with its own log.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { createHash, randomBytes, randomInt } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { OwnFaults } from './own-faults.ts';

export const ROOT = resolve(import.meta.dirname, '../..');
export const CLI = join(ROOT, 'bin/mcphub.js');
const START_MS = 60_000;
const STOP_MS = 40_000;

export interface HubOptions {
  /** Content of mcp_settings.json. */
  readonly config: unknown;
  readonly env?: Readonly<Record<string, string>>;
  readonly args?: readonly string[];
  /** Use this data directory (a restart); otherwise a new one. */
  readonly dataDir?: string;
  readonly port?: number;
  readonly key?: string;
  /** Do not wait until it is ready. */
  readonly noWait?: boolean;
  /** Its soft and hard limit of descriptors. */
  readonly descriptors?: number;
  /** Where it asks for names (port 53), instead of where this machine does; needs root. */
  readonly nameserver?: string;
  /** What its stdout is: default a pipe that is read. */
  readonly stdout?: 'pipe' | number;
  /** The test provokes faults in the hub's own code; without it each one fails the test when the hub is stopped. */
  readonly expectsFaults?: boolean;
}

export class RunningHub implements AsyncDisposable {
  readonly port: number;
  readonly url: string;
  readonly key: string;
  readonly dataDir: string;
  readonly configFile: string;
  readonly child: ChildProcess;
  /** ms from spawn until /health said 200. */
  startedMs = 0;
  #out = '';
  readonly #faults: OwnFaults;
  #exited: Promise<number | null>;
  #keepDir: boolean;

  constructor(
    child: ChildProcess,
    facts: {
      port: number;
      key: string;
      dataDir: string;
      configFile: string;
      keepDir: boolean;
      expectsFaults?: boolean;
    },
  ) {
    this.child = child;
    this.port = facts.port;
    this.url = `http://127.0.0.1:${facts.port}`;
    this.key = facts.key;
    this.dataDir = facts.dataDir;
    this.configFile = facts.configFile;
    this.#keepDir = facts.keepDir;
    this.#faults = new OwnFaults(facts.expectsFaults ?? false);
    child.stderr?.on('data', (chunk: Buffer) => {
      this.#out = (this.#out + chunk.toString('utf8')).slice(-2_000_000);
    });
    this.#exited = new Promise((done) => child.once('exit', (code) => done(code)));
  }

  readStdout(): void {
    this.child.stdout?.on('data', (chunk: Buffer) => {
      const text = chunk.toString('utf8');
      this.#out = (this.#out + text).slice(-2_000_000);
      this.#faults.read(text);
    });
  }

  get pid(): number {
    return this.child.pid ?? -1;
  }

  /** Everything it has printed. */
  get log(): string {
    return this.#out;
  }

  /** Log lines as objects. */
  get lines(): Record<string, unknown>[] {
    return this.#out.split('\n').flatMap((line) => {
      try {
        return line.startsWith('{') ? [JSON.parse(line) as Record<string, unknown>] : [];
      } catch {
        return [];
      }
    });
  }

  get exited(): Promise<number | null> {
    return this.#exited;
  }

  /** Pids of its processes by role, e.g. { control: [..], hub: [..] }. */
  processes(): Record<string, number[]> {
    const found: Record<string, number[]> = {};
    for (const pid of childrenOf(this.pid)) {
      const role = environOf(pid).MCPHUB_PROCESS;
      if (role) found[role] = [...(found[role] ?? []), pid];
    }
    return found;
  }

  /** All living descendants, found by parentage and by the mark in their environment. */
  descendants(): number[] {
    return markedProcesses(this.dataDir, this.pid);
  }

  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<number | null> {
    if (this.child.exitCode === null && this.child.signalCode === null) this.child.kill(signal);
    const code = await within(this.#exited, STOP_MS, () => `the hub did not stop:\n${this.#out.slice(-4000)}`);
    this.#faults.assertNone();
    return code;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const marked = this.descendants();
    if (this.child.exitCode === null && this.child.signalCode === null) {
      this.child.kill('SIGTERM');
      await Promise.race([this.#exited, new Promise((done) => setTimeout(done, 8000).unref())]);
      if (this.child.exitCode === null) this.child.kill('SIGKILL');
    }
    for (const pid of marked) tryKill(pid);
    if (!this.#keepDir) rmSync(this.dataDir, { recursive: true, force: true });
    this.#faults.assertNone();
  }
}

/** Processes of a hub that are not those of `before` any more. */
export function changedProcesses(before: Record<string, number[]>, hub: RunningHub): number {
  const now = new Set(Object.values(hub.processes()).flat());
  return Object.values(before)
    .flat()
    .filter((pid) => !now.has(pid)).length;
}

export async function startHub(options: HubOptions): Promise<RunningHub> {
  const dataDir = options.dataDir ?? mkdtempSync(join(tmpdir(), 'mcphub-test-'));
  const configFile = join(dataDir, 'mcp_settings.json');
  writeFileSync(configFile, typeof options.config === 'string' ? options.config : JSON.stringify(options.config));
  const port = options.port ?? (await freePort());
  const key = options.key ?? `mcphub_${randomBytes(32).toString('hex')}`;
  const stdout = options.stdout ?? 'pipe';
  const born = performance.now();
  const words = [
    ...[process.execPath, CLI, 'start', '--config', configFile, '--data-dir', dataDir, '--port', String(port)],
    ...(options.args ?? []),
  ];
  const [program = '', ...args] = around(words, options, dataDir);
  const child = spawn(program, args, {
    cwd: ROOT,
    stdio: ['ignore', typeof stdout === 'number' ? stdout : 'pipe', 'pipe'],
    env: { ...cleanEnv(), MCPHUB_BOOTSTRAP_KEY: key, ...options.env },
  });
  const { expectsFaults = false } = options;
  const keepDir = options.dataDir !== undefined;
  const hub = new RunningHub(child, { port, key, dataDir, configFile, keepDir, expectsFaults });
  if (stdout === 'pipe') hub.readStdout();
  if (options.noWait) return hub;
  try {
    await until(async () => {
      if (child.exitCode !== null) throw new Error(`the hub ended with ${child.exitCode}:\n${hub.log.slice(-4000)}`);
      return (await statusOf(`${hub.url}/health`)) === 200;
    }, START_MS);
  } catch (fault) {
    await hub[Symbol.asyncDispose]();
    throw new Error(`${(fault as Error).message}\n${hub.log.slice(-4000)}`);
  }
  hub.startedMs = performance.now() - born;
  return hub;
}

/** The command with what it shall find changed. `exec`: the pid stays that of the supervisor. */
function around(words: readonly string[], options: HubOptions, dataDir: string): readonly string[] {
  const { descriptors, nameserver } = options;
  if (descriptors !== undefined) return ['sh', '-c', `ulimit -n ${descriptors}; exec "$@"`, 'sh', ...words];
  if (nameserver === undefined) return words;
  const file = join(dataDir, 'resolv.conf');
  writeFileSync(file, `nameserver ${nameserver}\n`);
  const script = `mount --bind '${file}' /etc/resolv.conf && exec "$@"`;
  return ['unshare', '-m', 'sh', '-c', script, 'sh', ...words];
}

/** This process's environment without anything that steers a hub. */
export function cleanEnv(): Record<string, string> {
  const env: Record<string, string> = {};
  for (const [name, value] of Object.entries(process.env)) {
    if (value !== undefined && !name.startsWith('MCPHUB_') && name !== 'NODE_TEST_CONTEXT' && name !== 'NODE_OPTIONS')
      env[name] = value;
  }
  return env;
}

export async function statusOf(url: string, headers: Record<string, string> = {}): Promise<number> {
  try {
    const answer = await fetch(url, { headers, signal: AbortSignal.timeout(2000) });
    await answer.arrayBuffer();
    return answer.status;
  } catch {
    return 0;
  }
}

/**
 * Below the ports that the system gives to outgoing connections: between the choice and its use nobody else takes one.
 */
const PORTS = { from: 10_240, to: 32_000 } as const;

/** A port on which nothing listens; tests that run side by side choose at random from the same range. */
export async function freePort(): Promise<number> {
  for (let tries = 0; tries < 100; tries += 1) {
    const port = randomInt(PORTS.from, PORTS.to);
    if (await isFree(port)) return port;
  }
  throw new Error('no free port found');
}

function isFree(port: number): Promise<boolean> {
  return new Promise((done) => {
    const server = createServer();
    server.once('error', () => done(false));
    server.listen(port, '127.0.0.1', () => server.close(() => done(true)));
  });
}

/** Polls until `check` is true; the only sleeping in the journeys, always bounded. */
export async function until(
  check: () => boolean | Promise<boolean>,
  timeoutMs: number,
  what = 'the condition',
): Promise<number> {
  const born = performance.now();
  for (;;) {
    if (await check()) return performance.now() - born;
    if (performance.now() - born > timeoutMs) throw new Error(`${what} did not come true within ${timeoutMs} ms`);
    await delay(20);
  }
}

export function delay(ms: number): Promise<void> {
  return new Promise((done) => setTimeout(done, ms));
}

export async function within<T>(promise: Promise<T>, ms: number, message: () => string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, fail) => {
    timer = setTimeout(() => fail(new Error(message())), ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

export function isAlive(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return !/^\d+ \(.*\) Z/s.test(stat);
  } catch {
    return false;
  }
}

export function tryKill(pid: number, signal: NodeJS.Signals = 'SIGKILL'): void {
  // -1 and 0 are no process but many.
  if (pid <= 1) throw new Error(`there is no process ${pid} to be killed`);
  try {
    process.kill(pid, signal);
  } catch {
    // Gone already.
  }
}

export function childrenOf(pid: number): number[] {
  return processIds().filter((other) => parentOf(other) === pid);
}

/** Living processes that carry the data directory in their environment, without the supervisor itself. */
export function markedProcesses(dataDir: string, guardPid: number): number[] {
  const mark = markOf(dataDir);
  return processIds().filter(
    (pid) => pid !== guardPid && pid !== process.pid && isAlive(pid) && belongsTo(pid, dataDir, mark),
  );
}

/** Servers' processes carry the mark only. */
function belongsTo(pid: number, dataDir: string, mark: string): boolean {
  const env = environOf(pid);
  return env.MCPHUB_DATA_DIR === dataDir || env.MCPHUB_MARK?.startsWith(mark) === true;
}

/** Start of the mark of everything that descends from the supervisor of this data directory. */
function markOf(dataDir: string): string {
  const path = existsSync(dataDir) ? realpathSync(dataDir) : dataDir;
  return `${createHash('sha256').update(path).digest('hex').slice(0, 12)}.`;
}

function processIds(): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number);
}

function parentOf(pid: number): number {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
  } catch {
    return -1;
  }
}

export function environOf(pid: number): Record<string, string> {
  try {
    const pairs = readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0');
    return Object.fromEntries(
      pairs.map((pair) => [pair.slice(0, pair.indexOf('=')), pair.slice(pair.indexOf('=') + 1)]),
    );
  } catch {
    return {};
  }
}
